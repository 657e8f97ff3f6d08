package process

import (
	"bufio"
	"errors"
	"os"
	"strings"
)

const (
	maxLine = 64 << 10
	// maxOutput and maxLines are what a program may print on one of its streams before it is ended: a verbose one prints megabytes.
	maxOutput = 64 << 20
	maxLines  = 1 << 20
)

// drain reads a stream to its end, since a program whose output nobody reads stands still. A line is cut, what follows a flood
// is read and dropped until the program has ended.
func (p *Process) drain(stream *os.File, take func(line string)) {
	defer stream.Close()
	reader, read, lines := bufio.NewReaderSize(stream, maxLine), 0, 0
	for continued := false; ; {
		part, err := reader.ReadSlice('\n')
		read += len(part)
		if !continued {
			lines++
		}
		if read > maxOutput || lines > maxLines {
			p.flooded.Do(func() { p.because(ErrFlood); p.kill() })
			part = nil
		}
		if len(part) > 0 && !continued {
			take(strings.TrimRight(string(part), "\r\n"))
		}
		if continued = errors.Is(err, bufio.ErrBufferFull); err != nil && !continued {
			return
		}
	}
}

// firstThen has the first line go to whoever waits for it, and the rest to take.
func (p *Process) firstThen(take func(line string)) func(line string) {
	first := true
	return func(line string) {
		if first {
			first = false
			p.first <- line
			return
		}
		take(line)
	}
}
