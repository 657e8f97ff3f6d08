package front

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// echoLast reads to the end and only then answers: it can't without a half-close that arrives.
func echoLast(conn *net.UnixConn) {
	defer conn.Close()
	all, _ := io.ReadAll(conn)
	_, _ = conn.Write(all)
}

func TestStdinMayEndBeforeTheAnswer(t *testing.T) {
	for name, version := range map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Limits{}, echoLast)
			config := w.clientConfig(w.authority.client())
			config.MinVersion, config.MaxVersion = version, version
			conn := w.mustDial(config)
			sent := make([]byte, 3<<20)
			_, _ = rand.Read(sent)
			if _, err := conn.Write(sent); err != nil {
				t.Fatal(err)
			}
			must(t, conn.CloseWrite())
			got, err := io.ReadAll(conn)
			if err != nil || !bytes.Equal(got, sent) {
				t.Errorf("got %d of %d bytes back, error %v", len(got), len(sent), err)
			}
		})
	}
}

func TestHangingUpBetweenRecordsIsAHalfClose(t *testing.T) {
	w := newWorld(t, Limits{}, echoLast)
	raw, err := net.Dial("tcp", w.address)
	must(t, err)
	defer raw.Close()
	conn := tls.Client(raw, w.clientConfig(w.authority.client()))
	must(t, conn.SetDeadline(time.Now().Add(patience)))
	_, err = io.WriteString(conn, "no close_notify")
	must(t, err)
	must(t, raw.(*net.TCPConn).CloseWrite())
	if got, err := io.ReadAll(conn); err != nil || string(got) != "no close_notify" {
		t.Errorf("got %q, error %v", got, err)
	}
}

func TestTheEngineMayEndFirstAndStillListen(t *testing.T) {
	heard := make(chan string, 1)
	w := newWorld(t, Limits{Linger: time.Millisecond}, func(conn *net.UnixConn) {
		defer conn.Close()
		_, _ = io.WriteString(conn, "bye")
		_ = conn.CloseWrite()
		all, _ := io.ReadAll(conn)
		heard <- string(all)
	})
	conn := w.mustDial(w.clientConfig(w.authority.client()))
	if got, err := io.ReadAll(conn); err != nil || string(got) != "bye" {
		t.Fatalf("got %q, error %v", got, err)
	}
	// Much later than the linger that a closed engine would get.
	timer := time.NewTimer(100 * time.Millisecond)
	<-timer.C
	_, err := io.WriteString(conn, "still here")
	must(t, err)
	must(t, conn.CloseWrite())
	select {
	case got := <-heard:
		if got != "still here" {
			t.Errorf("the engine heard %q", got)
		}
	case <-time.After(patience):
		t.Error("the engine heard nothing")
	}
}

func TestAnEngineThatIsGoneIsNotOutlived(t *testing.T) {
	for name, leave := range map[string]func(*net.UnixConn){
		"closed at once":       func(conn *net.UnixConn) { conn.Close() },
		"half-close, then all": func(conn *net.UnixConn) { _ = conn.CloseWrite(); conn.Close() },
		"with unread bytes": func(conn *net.UnixConn) {
			_, _ = conn.Read(make([]byte, 1))
			conn.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Limits{Linger: 10 * time.Millisecond}, leave)
			conn := w.mustDial(w.clientConfig(w.authority.client()))
			_, err := conn.Write(make([]byte, 100))
			must(t, err)
			_, _ = io.ReadAll(conn)
			// The client never closes; the front must come to its end all the same.
			w.stop()
			select {
			case err := <-w.ended:
				must(t, err)
			case <-time.After(patience):
				t.Error("the front waits for a client whose engine is gone")
			}
		})
	}
}

func TestTheAnswerToAnUploadThatDockerRefusesArrives(t *testing.T) {
	const answer = "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
	w := newWorld(t, Limits{}, func(conn *net.UnixConn) {
		_, _ = conn.Read(make([]byte, 1000))
		_, _ = io.WriteString(conn, answer)
		conn.Close()
	})
	conn := w.mustDial(w.clientConfig(w.authority.client()))
	go func() { _, _ = conn.Write(make([]byte, 8<<20)) }()
	if got, err := io.ReadAll(conn); string(got) != answer {
		t.Errorf("got %q, error %v", got, err)
	}
}

func TestUpgradedBytesPassUntouched(t *testing.T) {
	preface := "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	w := newWorld(t, Limits{}, func(conn *net.UnixConn) {
		defer conn.Close()
		reader := bufio.NewReader(conn)
		request, err := http.ReadRequest(reader)
		if err != nil || request.Header.Get("Upgrade") != "h2c" {
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
		_, _ = io.Copy(conn, reader)
	})
	conn := w.mustDial(w.clientConfig(w.authority.client()))
	_, err := io.WriteString(conn, "POST /session HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
	must(t, err)
	reader := bufio.NewReader(conn)
	response, err := http.ReadResponse(reader, nil)
	must(t, err)
	response.Body.Close()
	if response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("status %d", response.StatusCode)
	}
	_, err = io.WriteString(conn, preface)
	must(t, err)
	got := make([]byte, len(preface))
	if _, err := io.ReadFull(reader, got); err != nil || string(got) != preface {
		t.Errorf("got %q, error %v", got, err)
	}
}

func TestAnEngineThatRestartsIsWaitedFor(t *testing.T) {
	w := newWorld(t, Limits{Dial: patience}, nil)
	conn := w.mustDial(w.clientConfig(w.authority.client()))
	_, err := io.WriteString(conn, "hello")
	must(t, err)
	must(t, conn.CloseWrite())
	defer w.engine(echoLast)()
	if got, err := io.ReadAll(conn); err != nil || string(got) != "hello" {
		t.Errorf("got %q, error %v", got, err)
	}
}

func TestAnEngineThatStaysAwayIsSaid(t *testing.T) {
	w := newWorld(t, Limits{Dial: 10 * time.Millisecond, Linger: patience}, nil)
	transport := &http.Transport{TLSClientConfig: w.clientConfig(w.authority.client()), DisableKeepAlives: true}
	client := http.Client{Transport: transport, Timeout: patience}
	response, err := client.Post("https://"+w.address+"/containers/create", "application/json", strings.NewReader(strings.Repeat(" ", 1<<20)))
	must(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if response.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(body), "docker is not running") || err != nil {
		t.Errorf("status %d, body %q, error %v", response.StatusCode, body, err)
	}
}

func TestPumpKeepsEveryByteWhenTheFlowEbbsAndGrows(t *testing.T) {
	var want, got bytes.Buffer
	reader, writer := io.Pipe()
	go func() {
		for i, size := range []int{1, small, small + 1, 3 * chunk, 10, chunk, 0, small - 1, 5 * chunk} {
			part := bytes.Repeat([]byte{byte(i)}, size)
			want.Write(part)
			_, _ = writer.Write(part)
		}
		writer.Close()
	}()
	reading, writing := pump(&got, reader, &pool{})
	if !errors.Is(reading, io.EOF) || writing != nil || !bytes.Equal(got.Bytes(), want.Bytes()) {
		t.Errorf("%d of %d bytes, errors %v, %v", got.Len(), want.Len(), reading, writing)
	}
	reading, writing = pump(failing{}, strings.NewReader("x"), &pool{})
	if reading != nil || !errors.Is(writing, os.ErrClosed) {
		t.Errorf("a failed write gives %v, %v", reading, writing)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, os.ErrClosed }
