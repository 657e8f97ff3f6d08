package output

import (
	"slices"
	"testing"
)

func TestNamesAreOrderedAsPeopleDo(t *testing.T) {
	want := []string{"", "a", "A1", "a02", "a2b", "a10", "a10.1", "a10.2", "b", "n2", "N10", "n010x"}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortStableFunc(got, NaturalCompare)
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	for _, pair := range [][2]string{{"a", "A"}, {"x1", "X1"}} {
		if NaturalCompare(pair[0], pair[1]) != 0 {
			t.Errorf("%q and %q differ", pair[0], pair[1])
		}
	}
}

func TestLinesFitTheirColumnsWhateverTheyAreWrittenIn(t *testing.T) {
	for _, test := range []struct {
		line    string
		columns int
		want    string
	}{
		{"abc", 5, "abc  "}, {"abc", 3, "abc"}, {"abcd", 3, "ab…"}, {"abc", 1, "…"}, {"abc", 0, ""}, {"", 2, "  "},
		{"世界", 4, "世界"}, {"世界", 5, "世界 "}, {"世界", 3, "世…"}, {"世界", 2, "… "}, {"e\u0301tat", 4, "e\u0301tat"}, {"e\u0301tat", 3, "e\u0301t…"}, {"😀😀", 3, "😀…"},
	} {
		got := Fit(test.line, test.columns)
		if got != test.want || Width(got) != test.columns {
			t.Errorf("%q in %d columns is %q, %d wide, want %q", test.line, test.columns, got, Width(got), test.want)
		}
	}
}
