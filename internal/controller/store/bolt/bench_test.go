package bolt

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"
)

func BenchmarkWrites(b *testing.B) {
	for _, writers := range []int{1, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			s := mustOpen(b, filepath.Join(b.TempDir(), "store.db"))
			defer s.Close()
			value := make([]byte, 1000)
			var all sync.WaitGroup
			next := make(chan int)
			for range writers {
				all.Go(func() {
					for i := range next {
						if _, err := s.Create(b.Context(), fmt.Sprintf("k/%d", i), value); err != nil {
							b.Error(err)
						}
					}
				})
			}
			for i := 0; b.Loop(); i++ {
				next <- i
			}
			close(next)
			all.Wait()
		})
	}
}

func BenchmarkListOf10000(b *testing.B) {
	s := mustOpen(b, filepath.Join(b.TempDir(), "store.db"))
	defer s.Close()
	var all sync.WaitGroup
	for w := range 100 {
		all.Go(func() {
			for i := range 100 {
				if _, err := s.Create(b.Context(), fmt.Sprintf("machine/%d-%d", w, i), make([]byte, 1000)); err != nil {
					b.Error(err)
				}
			}
		})
	}
	all.Wait()
	for b.Loop() {
		if items, _, err := s.List(b.Context(), "machine/"); err != nil || len(items) != 10_000 {
			b.Fatal(len(items), err)
		}
	}
}
