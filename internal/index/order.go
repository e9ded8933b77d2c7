package index

import (
	"cmp"
	"errors"
	"math"
	"slices"
)

// Order is in which rows of a list come.
type Order uint8

// Orders. All but the first read every row that matches, and give one page.
const (
	ByID  Order = iota
	ByAt        // what is due next comes first, what is never due is left out
	ByEnd       // what ended last comes first
)

var errOnePage = errors.New("only a list by id has a cursor")

// ranking keeps the rows that come first.
type ranking struct {
	order Order
	keep  func(*Row) bool
	limit int
	rows  []Row
	worst int64 // what does not come before it is not among them
}

func newRanking(q *Query, limit int) *ranking {
	return &ranking{order: q.Order, keep: q.Keep, limit: limit, worst: math.MaxInt64}
}

// rank is less for what comes first.
func (o Order) rank(r *Row) int64 {
	if o == ByEnd {
		if r.End == 0 {
			return -millis(&r.ID)
		}
		return -r.End
	}
	return r.At
}

// add takes an entry's row if it comes before the worst.
func (g *ranking) add(e *entry, c *class) error {
	d := body{b: e.body}
	h := d.head(&e.id)
	if g.order == ByAt && h.flags&hasAt == 0 {
		return nil
	}
	part := Row{ID: e.id, End: h.end}
	if g.order == ByAt {
		d.tail(h, &part)
	}
	if g.order.rank(&part) >= g.worst {
		return nil
	}
	r, err := e.row(c)
	if err != nil || g.keep != nil && !g.keep(&r) {
		return err
	}
	if g.rows = append(g.rows, r); len(g.rows) >= 2*g.limit {
		g.cut()
	}
	return nil
}

// cut brings the rows into order and leaves those that come first.
func (g *ranking) cut() []Row {
	slices.SortFunc(g.rows, func(a, b Row) int {
		if c := cmp.Compare(g.order.rank(&a), g.order.rank(&b)); c != 0 {
			return c
		}
		return compareIDs(a.ID, b.ID)
	})
	if len(g.rows) >= g.limit {
		g.rows = g.rows[:g.limit]
		g.worst = g.order.rank(&g.rows[g.limit-1])
	}
	return g.rows
}
