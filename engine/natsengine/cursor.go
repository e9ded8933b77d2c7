package natsengine

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/faena-dev/faena/engine"
)

// list gives a page. Its cursor ends with a mark of the query's conditions, and
// is refused with others: what lies behind a run is another list then.
func (h *holder) list(_ context.Context, q engine.Query) (*engine.Page, error) {
	if q.Limit < 0 || q.Limit > 500 {
		return nil, &engine.Error{Code: engine.CodeInvalid, Op: "list", Err: fmt.Errorf("a limit of %d: want 1 to 500", q.Limit)}
	}
	mark, err := conditions(q)
	if err != nil {
		return nil, err
	}
	if cursor := q.Cursor; cursor != "" {
		var ours bool
		if q.Cursor, ours = strings.CutSuffix(cursor, mark); !ours || q.Cursor == "" {
			return nil, badCursor(cursor)
		}
	}
	p, err := h.page(q)
	if err == nil && p.Next != "" {
		p.Next += mark
	}
	return p, err
}

// conditions is a mark that queries share which select the same runs, written
// in any order.
func conditions(q engine.Query) (string, error) {
	q.Cursor, q.Limit = "", 0
	q.From, q.To = q.From.UTC(), q.To.UTC()
	q.States, q.Tags = slices.Clone(q.States), slices.Clone(q.Tags)
	slices.Sort(q.States)
	q.States = slices.Compact(q.States)
	slices.SortFunc(q.Tags, func(a, b engine.Tag) int {
		return strings.Compare(a.Key+"\x00"+a.Value, b.Key+"\x00"+b.Value)
	})
	b, err := json.Marshal(q)
	if err != nil {
		return "", fmt.Errorf("list: %w", err)
	}
	sum := fnv.New64a()
	_, _ = sum.Write(b) // it never fails
	return fmt.Sprintf("-%016x", sum.Sum64()), nil
}
