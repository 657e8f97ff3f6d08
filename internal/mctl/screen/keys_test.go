package screen

import (
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func TestKeysAreReadHoweverTheyArrive(t *testing.T) {
	for text, want := range map[string][]Key{
		"q":                              {'q'},
		"\x1b[A\x1bOB\x1b[C\x1bOD":       {Up, Down, Right, Left},
		"\x1b[5~\x1b[6~\x1b[1~\x1b[8~":   {PageUp, PageDown, Home, End},
		"\x1b[1;5Cr":                     {Right, 'r'}, // with Ctrl
		"\x1b[3~\x1b[15~x":               {Home, 'x'},  // F5 begins as Home does, and does no harm
		"\x1b\x1b[Aq":                    {Up, 'q'},    // Escape, then a key
		"\x1bxq":                         {'q'},        // Alt
		"é\x03\x1a":                      {Interrupt, Suspend},
		"\x1b[200;200;200;200;200;200Zr": {'r'},
	} {
		keys, done := make(chan Key, 20), make(chan struct{})
		ReadKeys(iotest.OneByteReader(strings.NewReader(text)), keys, done)
		close(keys)
		var got []Key
		for k := range keys {
			got = append(got, k)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q is %v, want %v", text, got, want)
		}
	}
}

func TestNobodyWaitsForKeysThatAreNotWanted(t *testing.T) {
	done := make(chan struct{})
	close(done)
	ReadKeys(strings.NewReader("abc"), make(chan Key), done)
}
