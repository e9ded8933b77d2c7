package imaging_test

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/engine/embedded"
	"github.com/faena-dev/faena/tasks/imaging"
)

// Of two files one is no picture: it is told of, and the other goes on.
func ExampleHandlers() {
	dir, err := os.MkdirTemp("", "faena")
	check(err)
	good, bad := filepath.Join(dir, "good.png"), filepath.Join(dir, "bad.png")
	f, err := os.Create(good)
	check(err)
	check(errors.Join(png.Encode(f, image.NewGray(image.Rect(0, 0, 640, 480))), f.Close()))
	check(os.WriteFile(bad, []byte("no picture"), 0o600))

	ctx := context.Background()
	eng, err := embedded.Open(ctx, embedded.Options{Dir: filepath.Join(dir, "data"), Durability: embedded.Fast})
	check(err)
	node, err := faena.Open(ctx, eng, faena.Options{})
	check(err)
	check(node.Handle(imaging.Handlers(imaging.Options{})...))

	sum, err := imaging.Batch.Run(ctx, node, imaging.Input{
		Files: []string{good, bad}, Out: filepath.Join(dir, "out"),
		Settings: imaging.Settings{Filter: "thumbnail:160"},
	})
	check(err)
	for _, o := range sum.Outcomes {
		if o.Error != "" {
			fmt.Println(filepath.Base(o.In), "failed")
			continue
		}
		fmt.Println(filepath.Base(o.Out), o.Width, o.Height)
	}
	check(errors.Join(node.Close(), eng.Close(), os.RemoveAll(dir)))
	// Output:
	// good.png 160 120
	// bad.png failed
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
