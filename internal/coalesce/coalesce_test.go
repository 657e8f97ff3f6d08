package coalesce_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mctl/internal/coalesce"
	"mctl/internal/pki"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// counting counts writes, and fails from some on.
type counting struct {
	net.Conn
	mu     sync.Mutex
	writes int
	broken error
}

func (c *counting) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken != nil {
		return 0, c.broken
	}
	c.writes++
	return c.Conn.Write(p)
}

func (c *counting) seen() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.writes
}

func (c *counting) breakWith(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.broken = err
}

// connect makes a TLS connection; what is read at its other end arrives in order on a channel, which is closed at the end.
func connect(t *testing.T) (conn net.Conn, wire *counting, arrived chan []byte) {
	t.Helper()
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	authority, err := pki.NewAuthority("test", key, time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	raw, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	arrived = make(chan []byte, 1000)
	go func() {
		defer close(arrived)
		defer far.Close()
		server := tls.Server(far, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{authority.Raw}, PrivateKey: key}}})
		for {
			buffer := make([]byte, 1<<16)
			n, err := server.Read(buffer)
			arrived <- buffer[:n]
			if err != nil {
				return
			}
		}
	}()
	wire = &counting{Conn: raw}
	secured := coalesce.Client(wire, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // who it is does not matter here
	if err := secured.Handshake(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		secured.Close()
		for range arrived {
		}
	})
	return secured, wire, arrived
}

func await(t *testing.T, arrived chan []byte, want []byte) {
	t.Helper()
	var got []byte
	for len(got) < len(want) {
		next, open := <-arrived
		if !open {
			t.Fatalf("%d of %d bytes arrived", len(got), len(want))
		}
		got = append(got, next...)
	}
	if !bytes.Equal(got, want) {
		t.Error("something else arrived")
	}
}

func TestWhatIsWrittenAtOnceLeavesAtOnce(t *testing.T) {
	conn, wire, arrived := connect(t)
	warm := make([]byte, 1<<20) // TLS begins with short records
	if _, err := conn.Write(warm); err != nil {
		t.Fatal(err)
	}
	await(t, arrived, warm)
	for size, most := range map[int]int{1: 1, 16 << 10: 1, 16<<10 + 1: 1, 100_000: 1, 1_000_000: 9} {
		text := bytes.Repeat([]byte("0123456789"), size/10+1)[:size]
		before := wire.seen()
		if n, err := conn.Write(text); n != size || err != nil {
			t.Fatalf("%d of %d, %v", n, size, err)
		}
		if writes := wire.seen() - before; writes > most {
			t.Errorf("%d bytes took %d writes, want at most %d", size, writes, most)
		}
		await(t, arrived, text) // nothing is held back once Write has returned
	}
}

func TestManyMayWriteAtATime(t *testing.T) {
	conn, _, arrived := connect(t)
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for range 20 {
				if _, err := conn.Write(bytes.Repeat([]byte{byte(i)}, 1000+i*10_000)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	var counts [8]int
	group.Go(func() {
		for total := 0; total < 20*(8*1000+28*10_000); {
			next := <-arrived
			total += len(next)
			for _, b := range next {
				counts[b]++
			}
		}
	})
	group.Wait()
	for i, n := range counts {
		if n != 20*(1000+i*10_000) {
			t.Errorf("%d bytes of writer %d arrived", n, i)
		}
	}
}

func TestAWriteThatFailsSaysSo(t *testing.T) {
	for _, size := range []int{10, 100_000, 1_000_000} {
		conn, wire, _ := connect(t)
		broken := errors.New("broken")
		wire.breakWith(broken)
		if _, err := conn.Write(make([]byte, size)); !errors.Is(err, broken) {
			t.Errorf("%d bytes: %v", size, err)
		}
		if _, err := conn.Write(make([]byte, size)); err == nil {
			t.Errorf("%d bytes, written after that: no error", size)
		}
		wire.breakWith(nil)
		if _, err := conn.Write(make([]byte, size)); err == nil {
			t.Errorf("%d bytes, written when it works again: no error, though some never left", size)
		}
	}
}

func TestClosingEndsAWriteThatNobodyTakes(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	below := &coalesce.Below{Conn: near}
	conn := below.Secured(plain{below})
	ended := make(chan error, 1)
	go func() { _, err := conn.Write(make([]byte, 1<<20)); ended <- err }()
	if _, err := io.ReadFull(far, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if err := <-ended; err == nil {
		t.Error("it did not fail")
	}
}

// plain stands where TLS does.
type plain struct{ net.Conn }
