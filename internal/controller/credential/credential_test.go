package credential

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"mctl/internal/controller/store"
	"mctl/internal/controller/store/bolt"
	"mctl/internal/controller/store/seal"
	"mctl/internal/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type fixture struct {
	*Service
	t     *testing.T
	now   time.Time
	store store.Store
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	s, err := bolt.Open(t.Context(), bolt.Config{Path: filepath.Join(t.TempDir(), "store.db"), Logger: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	sealer, err := seal.Open(filepath.Join(t.TempDir(), "seal.key"), "")
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, now: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC), store: s}
	f.Service = New(Config{Store: s, Sealer: sealer, Now: func() time.Time { return f.now }})
	return f
}

func (f *fixture) put(requestID, content string, replace bool) (Credential, error) {
	return f.Put(f.t.Context(), requestID, "team", "google", []byte(content), replace)
}

func (f *fixture) content() string {
	f.t.Helper()
	content, err := f.Content(f.t.Context(), "team", "google")
	if err != nil {
		f.t.Fatal(err)
	}
	return string(content)
}

func TestACredentialIsSealedAndToldToItsDriverAlone(t *testing.T) {
	f := newFixture(t)
	made, err := f.put("", "hunter2-hunter2", false)
	if err != nil || made.Name != "team" || made.Driver != "google" || !made.Created.Equal(f.now) || !made.Updated.Equal(f.now) {
		t.Fatalf("%+v, %v", made, err)
	}
	items, _, err := f.store.List(t.Context(), "")
	if err != nil || len(items) != 1 || bytes.Contains(items[0].Value, []byte("hunter2")) {
		t.Errorf("%d items, %v; or it stands there in clear", len(items), err)
	}
	if got := f.content(); got != "hunter2-hunter2" {
		t.Errorf("content %q", got)
	}
	for name, c := range map[string][2]string{"another driver": {"team", "amazonec2"}, "another name": {"other", "google"}} {
		if _, err := f.Content(t.Context(), c[0], c[1]); !fault.Is(err, fault.Precondition) || fault.HintOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBadCredentialsAreRefused(t *testing.T) {
	f := newFixture(t)
	for name, content := range map[string]string{"": "x", "-a": "x", "a/b": "x", "a\nb": "x", "../x": "x", string(make([]byte, 64)): "x", "empty": ""} {
		if _, err := f.Put(t.Context(), "", name, "google", []byte(content), false); !fault.Is(err, fault.Invalid) || fault.ReasonOf(err) != fault.ReasonUsage {
			t.Errorf("%q: %v", name, err)
		}
	}
	if all, err := f.List(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("stored %v, %v", all, err)
	}
}

func TestOneThatIsThereIsReplacedOnlyWhenToldSoAndForTheSameDriver(t *testing.T) {
	f := newFixture(t)
	if _, err := f.put("", "first", false); err != nil {
		t.Fatal(err)
	}
	if _, err := f.put("", "second", false); !fault.Is(err, fault.Exists) {
		t.Errorf("without replace: %v", err)
	}
	if _, err := f.Put(t.Context(), "", "team", "amazonec2", []byte("second"), true); !fault.Is(err, fault.Exists) {
		t.Errorf("for another driver: %v", err)
	}
	began := f.now
	f.now = f.now.Add(time.Hour)
	got, err := f.put("", "second", true)
	if err != nil || !got.Created.Equal(began) || !got.Updated.Equal(f.now) || f.content() != "second" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestARepeatedRequestChangesNothing(t *testing.T) {
	f := newFixture(t)
	for _, step := range []struct{ id, content, want string }{
		{"r1", "first", "first"}, {"r1", "first", "first"}, {"r2", "second", "second"}, {"r1", "first", "second"},
	} {
		if _, err := f.put(step.id, step.content, true); err != nil {
			t.Fatal(err)
		}
		if got := f.content(); got != step.want {
			t.Errorf("after %s: %q, want %q", step.id, got, step.want)
		}
	}
	if _, err := f.put("r1", "first", false); err != nil { // as it was asked at first
		t.Error(err)
	}
	if err := f.Delete(t.Context(), "r1", "team", nobody); !fault.Is(err, fault.Invalid) {
		t.Errorf("its id for another act: %v", err)
	}
}

func TestARemovalMayComeOnceMoreAndLeavesTheNextOneAlone(t *testing.T) {
	f := newFixture(t)
	if err := f.Delete(t.Context(), "", "team", nobody); !fault.Is(err, fault.NotFound) {
		t.Errorf("before it is there: %v", err)
	}
	if _, err := f.put("", "first", false); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := f.Delete(t.Context(), "d1", "team", nobody); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Delete(t.Context(), "d2", "team", nobody); !fault.Is(err, fault.NotFound) {
		t.Errorf("another removal: %v", err)
	}
	if _, err := f.Content(t.Context(), "team", "google"); !fault.Is(err, fault.Precondition) {
		t.Errorf("its content: %v", err)
	}
	if all, err := f.List(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("listed: %v, %v", all, err)
	}
	f.now = f.now.Add(time.Hour)
	if again, err := f.Put(t.Context(), "", "team", "amazonec2", []byte("second"), false); err != nil || !again.Created.Equal(f.now) {
		t.Fatalf("made anew: %+v, %v", again, err)
	}
	if err := f.Delete(t.Context(), "d1", "team", nobody); err != nil {
		t.Error(err)
	}
	if content, err := f.Content(t.Context(), "team", "amazonec2"); err != nil || string(content) != "second" {
		t.Errorf("the next one: %q, %v", content, err)
	}
}

// nobody uses the credential.
func nobody(context.Context) error { return nil }

func TestOneThatIsUsedIsTakenAwayAndGivenBack(t *testing.T) {
	f := newFixture(t)
	if _, err := f.put("p1", "first", false); err != nil {
		t.Fatal(err)
	}
	used := fault.New("test", fault.Precondition, "", "web uses it")
	err := f.Delete(t.Context(), "d1", "team", func(ctx context.Context) error {
		// A machine that is made now must find it gone, for this may not have seen it.
		if _, err := f.Content(ctx, "team", "google"); !fault.Is(err, fault.Precondition) {
			t.Errorf("while its users are looked for: %v", err)
		}
		return used
	})
	if !errors.Is(err, used) || f.content() != "first" {
		t.Errorf("got %v, content %q", err, f.content())
	}
	if _, err := f.put("p1", "other", true); err != nil || f.content() != "first" {
		t.Errorf("what it remembers is lost: %v, %q", err, f.content())
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := f.Delete(ctx, "d1", "team", func(ctx context.Context) error { cancel(); return ctx.Err() }); !errors.Is(err, context.Canceled) || f.content() != "first" {
		t.Errorf("a caller that went away: %v, content %q", err, f.content())
	}
	if err := f.Delete(t.Context(), "d1", "team", nobody); err != nil {
		t.Errorf("the same request, when nobody uses it: %v", err)
	}
	items, _, err := f.store.List(t.Context(), "")
	if err != nil || len(items) != 1 || len(items[0].Value) > 100 {
		t.Errorf("its content is kept: %d items, %v", len(items), err)
	}
}

func TestWhatIsKeptOfRemovedOnesIsForgottenAfterADay(t *testing.T) {
	f := newFixture(t)
	if _, err := f.put("", "first", false); err != nil {
		t.Fatal(err)
	}
	if err := f.Delete(t.Context(), "d1", "team", nobody); err != nil {
		t.Fatal(err)
	}
	for after, want := range []int{1, 0} {
		if _, err := f.List(t.Context()); err != nil {
			t.Fatal(err)
		}
		if items, _, err := f.store.List(t.Context(), ""); err != nil || len(items) != want {
			t.Errorf("after %d days: %d items, %v", after, len(items), err)
		}
		f.now = f.now.Add(25 * time.Hour)
	}
}

func TestManyAtOnceLeaveOneOfThem(t *testing.T) {
	f := newFixture(t)
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			if _, err := f.Put(context.Background(), fmt.Sprint(i), "team", "google", []byte(fmt.Sprint(i)), true); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if f.content() == "" {
		t.Error("nothing is left")
	}
	made := make(chan error, 20)
	for i := range cap(made) {
		all.Go(func() {
			_, err := f.Put(context.Background(), "", "one", "google", []byte(fmt.Sprint(i)), false)
			made <- err
		})
	}
	all.Wait()
	close(made)
	won := 0
	for err := range made {
		if err == nil {
			won++
		} else if !fault.Is(err, fault.Exists) {
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d made the same one", won)
	}
}
