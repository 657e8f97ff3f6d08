package lab

import (
	"cmp"
	"slices"
	"time"
)

// Ref is where a front finds a thing again. Scope is the front's word for where it is, such as an account and a zone; scope
// and name are unique together among things of one kind.
type Ref struct{ Scope, Name string }

// Record is what all things have.
type Record struct {
	Ref
	ID uint64 // unique among all things
	// Doc is the front's own description, which the core keeps and never reads.
	Doc any
}

func (r Record) record() Record { return r }

// Where is the record's reference.
func (r Record) Where() Ref { return r.Ref }

// table holds the things of one kind. The zero value is empty. Its owner has the lock.
//
// There are two views: what is, which acts see, and what is told, which callers of the API see and which may be behind.
type table[T interface{ record() Record }] struct {
	rows   map[Ref]*row[T]
	ghosts map[Ref]*row[T] // gone, and still told
}

// lag is how long what is told stays behind what is: so many reads, and no longer than the limit, unless that is zero.
type lag struct {
	reads int
	limit time.Duration
}

// row is one thing; behind counts the reads that still are answered from before it came, or went, until a time.
type row[T any] struct {
	value  T
	behind int
	until  time.Time // zero for any
}

func newRow[T any](value T, behind lag) *row[T] {
	r := &row[T]{value: value, behind: behind.reads}
	if behind.limit > 0 {
		r.until = time.Now().Add(behind.limit)
	}
	return r
}

func (t *table[T]) get(ref Ref) (T, bool) {
	r, ok := t.rows[ref]
	if !ok {
		var none T
		return none, false
	}
	return r.value, true
}

// told is get for callers of the API.
func (t *table[T]) told(ref Ref) (T, bool) {
	if r, ok := t.rows[ref]; ok && !late(r) {
		return r.value, true
	}
	if r, ok := t.ghosts[ref]; ok && late(r) {
		return r.value, true
	}
	var none T
	return none, false
}

func late[T any](r *row[T]) bool {
	if r.behind == 0 || !r.until.IsZero() && time.Now().After(r.until) {
		return false
	}
	r.behind--
	return true
}

func (t *table[T]) put(value T, behind lag) {
	if t.rows == nil {
		t.rows, t.ghosts = map[Ref]*row[T]{}, map[Ref]*row[T]{}
	}
	ref := value.record().Ref
	if r, ok := t.rows[ref]; ok {
		r.value = value
		return
	}
	t.rows[ref] = newRow(value, behind)
	delete(t.ghosts, ref)
}

func (t *table[T]) remove(ref Ref, behind lag) {
	if r, ok := t.rows[ref]; ok && behind.reads > 0 {
		t.ghosts[ref] = newRow(r.value, behind)
	}
	delete(t.rows, ref)
}

// all lists what is, the oldest first.
func (t *table[T]) all() []T {
	list := make([]T, 0, len(t.rows))
	for _, r := range t.rows {
		list = append(list, r.value)
	}
	return sorted(list)
}

// allTold is all for callers of the API.
func (t *table[T]) allTold() []T {
	list := make([]T, 0, len(t.rows))
	for _, r := range t.rows {
		if !late(r) {
			list = append(list, r.value)
		}
	}
	for _, r := range t.ghosts {
		if late(r) {
			list = append(list, r.value)
		}
	}
	return sorted(list)
}

func sorted[T interface{ record() Record }](list []T) []T {
	slices.SortFunc(list, func(a, b T) int { return cmp.Compare(a.record().ID, b.record().ID) })
	return list
}
