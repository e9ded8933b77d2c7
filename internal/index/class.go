package index

import "slices"

// classKey is what filters ask for.
type classKey struct {
	state       uint8
	retried     bool
	queue, task string
}

// class is a set of runs that share a classKey; rows name it by a small number.
type class struct {
	classKey
	live     bool // the number is in use
	terminal bool
}

// class finds or adds a class. One that is added is there for readers before any
// row of it is.
func (w *writer) class(k classKey) (uint32, error) {
	if n, ok := w.byKey[k]; ok {
		return n, nil
	}
	c := class{classKey: k, live: true, terminal: w.x.terminal(k.state)}
	classes := *w.x.classes.Load()
	n := uint32(len(classes)) //nolint:gosec // far fewer
	if len(w.free) > 0 {
		n = w.free[len(w.free)-1]
	}
	w.addClass.BindInt64(1, int64(n))
	w.addClass.BindInt64(2, int64(k.state))
	w.addClass.BindText(3, k.queue)
	w.addClass.BindText(4, k.task)
	w.addClass.BindBool(5, k.retried)
	if err := exec(w.addClass); err != nil {
		return 0, err
	}
	if int(n) < len(classes) {
		w.free = w.free[:len(w.free)-1]
		classes = slices.Clone(classes) // readers hold the old one
		classes[n] = c
	} else {
		classes = append(classes, c)
		w.delta, w.ends = append(w.delta, 0), append(w.ends, 0)
	}
	w.byKey[k] = n
	w.added = append(w.added, n)
	w.x.classes.Store(&classes)
	return n, nil
}

// dropAdded forgets the classes of a transaction that was undone.
func (w *writer) dropAdded() {
	if len(w.added) == 0 {
		return
	}
	classes := slices.Clone(*w.x.classes.Load()) // readers hold the old one
	for _, n := range w.added {
		delete(w.byKey, classes[n].classKey)
		classes[n] = class{}
		w.free = append(w.free, n)
	}
	w.added = w.added[:0]
	w.x.classes.Store(&classes)
}
