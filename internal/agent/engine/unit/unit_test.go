package unit

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestTheLastCommandCountsAndOthersAreLeftOut(t *testing.T) {
	var u Unit
	u.Read("[Unit]\nExecStart=/wrong\n[Service]\n# ExecStart=/comment\nEnvironment=A=1 \"B=two words\"\nEnvironmentFile=-/etc/default/docker\n" +
		"ExecStart=/usr/bin/dockerd \\\n  -H fd://\n[Install]\nExecStart=/wrong\n")
	if u.Command != "/usr/bin/dockerd    -H fd://" {
		t.Errorf("command %q", u.Command)
	}
	u.Read("[Service]\nExecStart=\nExecStart=/usr/bin/dockerd $OPTS ${ONE} $$x\nEnvironment=\nEnvironment=C=3\n")
	if diff := cmp.Diff([]string{"C=3"}, u.Environment); diff != "" {
		t.Error(diff)
	}
	got := u.Arguments(map[string]string{"OPTS": `--label "a=b c" -D`, "ONE": "x y"})
	if diff := cmp.Diff([]string{"/usr/bin/dockerd", "--label", "a=b c", "-D", "x y", "$x"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestADropInWithNothingToSayIsNone(t *testing.T) {
	if got := DropIn("/usr/sbin/dockerd", false, nil, nil); got != nil {
		t.Errorf("%s", got)
	}
	if got := string(DropIn("/usr/sbin/dockerd", false, nil, []string{"A=b"})); strings.Contains(got, "ExecStart") {
		t.Errorf("the command is repeated without need: %s", got)
	}
}

// What is written must be read back as it was, by systemd's rules, and must not reach another line.
func TestValuesAreReadBackAsTheyWere(t *testing.T) {
	hostile := rapid.StringOf(rapid.SampledFrom([]rune("aé $`%\"'\\;(){}[]#=-~*|&<>!?x")))
	rapid.Check(t, func(t *rapid.T) {
		value := hostile.Draw(t, "value")
		text := string(DropIn("/usr/sbin/dockerd -H fd://", false, []string{"f=" + value}, []string{"N=" + value}))
		if lines := strings.Count(text, "\n"); lines != 5 {
			t.Fatalf("%d lines:\n%s", lines, text)
		}
		var u Unit
		u.Read(text)
		if got := strings.ReplaceAll(u.Environment[0], "%%", "%"); got != "N="+value {
			t.Fatalf("environment %q became %q", value, got)
		}
		if got := u.Arguments(nil); len(got) != 4 || got[3] != "--f="+value {
			t.Fatalf("flag %q became %q", value, got)
		}
	})
}

func TestWhatIsLeftOfACommandIsWrittenAsItWas(t *testing.T) {
	variables := map[string]string{"OPTS": `-H tcp://x --label "a=b $c"`, "ONE": "y"}
	for command, want := range map[string]string{
		`-/usr/bin/dockerd -H 'tcp://x'  --label="p q" %h $OTHER`: `-/usr/bin/dockerd -H --label="p q" %h $OTHER`,
		`/usr/bin/dockerd $OPTS --one ${ONE}`:                     `/usr/bin/dockerd "-H" "--label" "a=b $$c" --one ${ONE}`,
		`/usr/bin/dockerd ${ONE}`:                                 `/usr/bin/dockerd ${ONE}`,
	} {
		got := Unit{Command: command}.Only(variables, func(arguments []string) []bool {
			var keep []bool
			for _, a := range arguments {
				keep = append(keep, a != "tcp://x")
			}
			return keep
		})
		if got != want {
			t.Errorf("%s\nbecame %s\nwant   %s", command, got, want)
		}
	}
}

// As docker-machine writes it, and for systemd what it is, whatever stands in it.
func TestDockerMachinesDropInIsReadBackAsItWas(t *testing.T) {
	if got, want := string(MachineDropIn([]string{"/usr/bin/dockerd", "-H", "tcp://0.0.0.0:2376", "--label", "a=b"}, nil)), "[Service]\nExecStart=\nExecStart=/usr/bin/dockerd -H tcp://0.0.0.0:2376 --label a=b \nEnvironment=\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	hostile := rapid.StringOf(rapid.SampledFrom([]rune("aé $`%\"'\\;(){}[]#=-~*|&<>!?x")))
	rapid.Check(t, func(t *rapid.T) {
		value := hostile.Draw(t, "value")
		text := string(MachineDropIn([]string{"/usr/bin/dockerd", "--label", value, "-D"}, []string{"N=" + value, "M=1"}))
		var u Unit
		u.Read(text)
		if got := u.Arguments(nil); len(got) != 4 || got[2] != value || strings.Count(text, "\n") != 4 {
			t.Fatalf("%q became %q:\n%s", value, got, text)
		}
		if got := strings.ReplaceAll(u.Environment[0], "%%", "%"); len(u.Environment) != 2 || got != "N="+value {
			t.Fatalf("environment %q became %q", value, u.Environment)
		}
	})
}
