package gateway

import (
	"log/slog"
	"net/http"
	"time"
)

// Server is an http.Server for a handler with bounds on everything a slow or
// idle client could hold: headers, bodies, answers and connections. The caller
// listens, serves and shuts it down.
func Server(h http.Handler, log *slog.Logger) *http.Server {
	if log == nil {
		log = slog.Default()
	}
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       5 * time.Minute, // 64 MiB at 2 Mbit/s
		WriteTimeout:      10 * time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}
