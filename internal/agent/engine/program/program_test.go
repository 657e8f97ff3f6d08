package program

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOutputComesLineByLine(t *testing.T) {
	var got []string
	err := Local{}.Run(t.Context(), Command{
		Args: []string{"sh", "-c", `printf 'one\n\ntwo \rthree\n%s' "$X"; echo four >&2`}, Env: []string{"X=$(id)"},
		Line: func(line string) { got = append(got, line) },
	})
	if want := []string{"one", "two", "three", "$(id)four"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestFailuresTellCodeAndLastLines(t *testing.T) {
	err := Local{}.Run(t.Context(), Command{Args: []string{"sh", "-c", "seq 100; echo why >&2; exit 7"}})
	var exit *ExitError
	if !errors.As(err, &exit) || exit.Code != 7 || len(exit.Tail) != tailLines || err.Error() != "sh ended with code 7: why" {
		t.Errorf("%v, %+v", err, exit)
	}
	if err := (Local{}).Run(t.Context(), Command{Args: []string{"no-such-program"}}); !errors.Is(err, ErrMissing) {
		t.Error(err)
	}
}

func TestTheWholeGroupEndsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	began := time.Now()
	err := Local{}.Run(ctx, Command{
		Args: []string{"sh", "-c", "sleep 60 & echo ready; wait"}, Line: func(string) { cancel() },
	})
	if !errors.Is(err, context.Canceled) || time.Since(began) > 10*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}

func TestAChildThatIsLeftBehindHoldsNothingUp(t *testing.T) {
	began := time.Now()
	output, err := Output(t.Context(), Local{}, "sh", "-c", "sleep 5 & echo done")
	if err != nil || output != "done\n" || time.Since(began) > 4*time.Second {
		t.Errorf("%q, %v after %v", output, err, time.Since(began))
	}
}

func TestOutputIsBounded(t *testing.T) {
	output, err := Output(t.Context(), Local{}, "sh", "-c", "yes "+strings.Repeat("x", 100)+" | head -n 30000")
	if err != nil || len(output) > maxOutput+1 || len(output) < maxOutput/2 {
		t.Errorf("%d bytes, %v", len(output), err)
	}
}
