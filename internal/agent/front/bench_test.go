package front

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// bulk is what one round of the throughput benchmark carries.
const bulk = 64 << 20

// peer is the same server twice: behind the front, and with Go's TLS as dockerd has it.
type peer struct {
	name string
	dial func() *tls.Conn
}

func peers(b *testing.B, serve func(net.Conn)) []peer {
	w := newWorld(b, Limits{}, func(conn *net.UnixConn) { serve(conn) })
	client := w.clientConfig(w.authority.client())
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{w.authority.issue(x509.ExtKeyUsageServerAuth, nil)},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: client.RootCAs, NextProtos: []string{"http/1.1"},
	})
	must(b, err)
	b.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go serve(conn)
		}
	}()
	direct := func() *tls.Conn {
		conn, err := tls.Dial("tcp", listener.Addr().String(), client)
		must(b, err)
		return conn
	}
	return []peer{{"front", func() *tls.Conn { return w.mustDial(client) }}, {"plain", direct}}
}

// cpu is the time that this process, both ends included, has computed.
func cpu() time.Duration {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func BenchmarkThroughput(b *testing.B) {
	// As net/http writes a body: 32 kB at a time.
	chunk := make([]byte, 32<<10)
	down := func(conn net.Conn) {
		defer conn.Close()
		for asked := make([]byte, 1); ; {
			if _, err := io.ReadFull(conn, asked); err != nil {
				return
			}
			for range bulk / len(chunk) {
				if _, err := conn.Write(chunk); err != nil {
					return
				}
			}
		}
	}
	up := func(conn net.Conn) {
		defer conn.Close()
		buffer := make([]byte, 32<<10)
		for {
			for left := bulk; left > 0; {
				n, err := conn.Read(buffer)
				if left -= n; err != nil {
					return
				}
			}
			if _, err := conn.Write([]byte{1}); err != nil {
				return
			}
		}
	}
	run := func(direction string, serve func(net.Conn), round func(conn *tls.Conn) error) {
		for _, p := range peers(b, serve) {
			b.Run(direction+"/"+p.name, func(b *testing.B) {
				conn := p.dial()
				defer conn.Close()
				must(b, conn.SetDeadline(time.Time{}))
				b.SetBytes(bulk)
				b.ResetTimer()
				begin := cpu()
				for range b.N {
					must(b, round(conn))
				}
				b.ReportMetric((cpu()-begin).Seconds()/float64(b.N)/bulk*1e9, "cpu-s/GB")
			})
		}
	}
	buffer := make([]byte, 64<<10)
	run("down", down, func(conn *tls.Conn) error {
		if _, err := conn.Write([]byte{1}); err != nil {
			return err
		}
		for left := bulk; left > 0; {
			n, err := conn.Read(buffer)
			if left -= n; err != nil {
				return err
			}
		}
		return nil
	})
	run("up", up, func(conn *tls.Conn) error {
		for range bulk / len(buffer) {
			if _, err := conn.Write(buffer); err != nil {
				return err
			}
		}
		_, err := io.ReadFull(conn, buffer[:1])
		return err
	})
}

func BenchmarkRequests(b *testing.B) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, strings.Repeat("x", 400)) })
	server := &http.Server{Handler: handler, ReadHeaderTimeout: patience}
	hand := make(chan net.Conn)
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(&handed{conns: hand, closed: make(chan struct{})}) }()
	b.Cleanup(func() { server.Close(); <-done })
	for _, p := range peers(b, func(conn net.Conn) { hand <- conn }) {
		b.Run("kept/"+p.name, func(b *testing.B) {
			conn := p.dial()
			defer conn.Close()
			must(b, conn.SetDeadline(time.Time{}))
			reader := bufio.NewReader(conn)
			begin := cpu()
			for range b.N {
				must(b, ask(conn, reader))
			}
			b.ReportMetric(float64((cpu()-begin).Microseconds())/float64(b.N), "cpu-µs/op")
		})
		b.Run("new/"+p.name, func(b *testing.B) {
			begin := cpu()
			for range b.N {
				conn := p.dial()
				must(b, ask(conn, bufio.NewReader(conn)))
				conn.Close()
			}
			b.ReportMetric(float64((cpu()-begin).Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
}

func ask(conn io.Writer, reader *bufio.Reader) error {
	if _, err := io.WriteString(conn, "GET /_ping HTTP/1.1\r\nHost: docker\r\n\r\n"); err != nil {
		return err
	}
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return err
}

// handed is a listener whose connections come from elsewhere.
type handed struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (h *handed) Accept() (net.Conn, error) {
	select {
	case conn := <-h.conns:
		return conn, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

func (h *handed) Close() error   { close(h.closed); return nil }
func (h *handed) Addr() net.Addr { return &net.TCPAddr{} }
