package index

import (
	"fmt"
	"slices"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// LimitPages makes the disk seem full beyond n pages; 0 lifts it again.
func (x *Index) LimitPages(n int) error {
	if n == 0 {
		n = 1 << 30
	}
	return sqlitex.ExecuteTransient(x.w.c, fmt.Sprintf("pragma max_page_count=%d", n), nil)
}

// Pages is how large the database is.
func (x *Index) Pages() (n int, err error) {
	err = sqlitex.ExecuteTransient(x.w.c, "pragma page_count", &sqlitex.ExecOptions{ResultFunc: func(s *sqlite.Stmt) error {
		n = s.ColumnInt(0)
		return nil
	}})
	return n, err
}

// Verify checks that the tables agree with each other. It gives the number of
// chunks.
func (x *Index) Verify() (chunks int, err error) {
	w := x.w
	posts, lows := map[string]bool{}, map[string]bool{}
	counts := make([]int64, len(*x.classes.Load()))
	var last ID
	rows := 0
	err = sqlitex.Execute(w.c, "select first, data, due from dir join chunk using(n) order by first", &sqlitex.ExecOptions{ResultFunc: func(s *sqlite.Stmt) error {
		var buf []byte
		first, data := chunkColumns(s, &buf)
		sc := scan(data)
		var entries []entry
		for sc.next() {
			if rows > 0 && compareIDs(sc.id, last) <= 0 || compareIDs(sc.id, first) < 0 ||
				len(entries) == 0 && rows > 0 && compareIDs(first, last) <= 0 {
				return fmt.Errorf("chunk %x: row %x after %x", first, sc.id, last)
			}
			last = sc.id
			rows++
			counts[sc.class]++
			entries = append(entries, sc.entry)
		}
		if sc.err != nil {
			return sc.err
		}
		if len(entries) == 0 {
			return fmt.Errorf("chunk %x is empty", first)
		}
		chunks++
		var sum summary
		if err := sum.summarise(entries, *x.classes.Load()); err != nil {
			return err
		}
		if got := s.ColumnInt64(2); sum.due != never && got < sum.due || (sum.due == never) != s.ColumnIsNull(2) {
			return fmt.Errorf("chunk %x is due at %d, want %d", first, got, sum.due)
		}
		for _, p := range sum.posts {
			posts[fmt.Sprintf("%d %d %x", p.hash, p.class, first)] = true
		}
		for _, l := range sum.lows {
			lows[fmt.Sprintf("%d %d %x", l.stream, l.seq, first)] = true
		}
		return nil
	}})
	if err != nil {
		return 0, err
	}
	for query, want := range map[string]map[string]bool{
		"select hash, class, first from post": posts, "select stream, seq, first from low": lows,
	} {
		err = sqlitex.Execute(w.c, query, &sqlitex.ExecOptions{ResultFunc: func(s *sqlite.Stmt) error {
			var first ID
			s.ColumnBytes(2, first[:])
			k := fmt.Sprintf("%d %d %x", s.ColumnInt64(0), s.ColumnInt64(1), first)
			if !want[k] {
				return fmt.Errorf("%s: %s is there, and should not be", query, k)
			}
			delete(want, k)
			return nil
		}})
		if err != nil {
			return 0, err
		}
		for k := range want {
			return 0, fmt.Errorf("%s: %s is missing", query, k)
		}
	}
	if got := slices.Clone(x.counts); !slices.Equal(got, counts[:len(got)]) {
		return 0, fmt.Errorf("counts are %v, want %v", got, counts)
	}
	links := 0
	err = sqlitex.Execute(w.c, "select count(*) from link", &sqlitex.ExecOptions{ResultFunc: func(s *sqlite.Stmt) error {
		links = s.ColumnInt(0)
		return nil
	}})
	if err == nil && links != w.links {
		err = fmt.Errorf("links are %d, want %d", w.links, links)
	}
	return chunks, err
}
