package memory

import (
	"testing"

	"mctl/internal/fault"
)

func TestOnlyWholeConfigsAreLearned(t *testing.T) {
	for text, want := range map[string]bool{
		`{"A":1,"B":""}`: false, `{"A":2,"B":""}`: true, `{"B":"x","A":1,"C":3}`: true, `{"A":2}`: false, `{"A":2,"B":`: false, `[]`: false, `null`: false, ``: false,
		"{\"A\":1,\"B\":\"\"}\n": true, // the bytes are kept, not what they mean
	} {
		m := Memory{Config: []byte(`{"A":1,"B":""}`)}
		if got := m.Learn([]byte(text)); got != want || got && string(m.Config) != text || !got && string(m.Config) != `{"A":1,"B":""}` {
			t.Errorf("%s: %t, now %s", text, got, m.Config)
		}
	}
	if m := (Memory{}); !m.Learn([]byte(`{"A":1}`)) {
		t.Error("the first is not learned")
	}
}

func TestAfterACallFieldsMayBeGoneButNotWhoTheHostIs(t *testing.T) {
	const known = `{"MachineName":"web","InstanceID":"i-1","HostID":"","Old":1}`
	for text, want := range map[string]bool{
		`{"MachineName":"web","InstanceID":"i-1","New":2}`: true, `{"MachineName":"web","InstanceID":""}`: true, known: false,
		`{"MachineName":"web"}`: false, `{"InstanceID":"i-1"}`: false, `{}`: false, `null`: false, `{"MachineName":"web","InstanceID":"i-1"`: false,
	} {
		m := Memory{Config: []byte(known)}
		if got := m.Take([]byte(text)); got != want || got && string(m.Config) != text || !got && string(m.Config) != known {
			t.Errorf("%s: %t, now %s", text, got, m.Config)
		}
	}
}

func TestAnIDIsWhatCreateAddedUnderAHostsName(t *testing.T) {
	for text, want := range map[string]string{
		`{"InstanceId":"i-1"}`: "i-1", `{"DropletID":42}`: "42", `{"MachineId":"m"}`: "m", `{"ServerID":7}`: "7", `{"Id":"x"}`: "x", `{"UUID":"u"}`: "u", `{"VirtualMachineID":"v"}`: "v",
		`{"SSHKeyID":3}`: "", `{"KeyPairId":"k"}`: "", `{"VpcId":"v"}`: "", `{"ImageId":"i"}`: "", `{"SecurityGroupIds":["g"]}`: "", `{"NetworkID":"n"}`: "", `{"VolumeID":1}`: "",
		`{"InstanceId":""}`: "", `{"DropletID":0}`: "", `{"InstanceID":"before"}`: "", `{}`: "",
	} {
		m := Memory{Config: []byte(text)}
		if m.LearnID([]byte(`{"InstanceID":"before"}`)); m.ID != want {
			t.Errorf("%s: %q, want %q", text, m.ID, want)
		}
	}
}

func TestAnAddressThatWasThereBeforeLocatesNothing(t *testing.T) {
	m := Memory{Config: []byte(`{"IPAddress":"192.0.2.1"}`)}
	if m.Located([]byte(`{"IPAddress":"192.0.2.1"}`)) || !m.Located([]byte(`{"IPAddress":""}`)) || !m.Located([]byte(`{}`)) {
		t.Error("only a new address does")
	}
}

func TestMemoriesSurvive(t *testing.T) {
	m := Memory{Config: []byte("{\"a\": 1.0}\n"), Key: []byte("key"), ID: "i", Begun: true, Made: true, Fragile: true}
	again, err := Recall(m.Encode())
	if err != nil || string(again.Config) != string(m.Config) || string(again.Key) != "key" || again.ID != "i" || !again.Begun || !again.Made || !again.Fragile {
		t.Errorf("%+v %v", again, err)
	}
	if none, err := Recall(nil); err != nil || none.Begun {
		t.Errorf("%+v %v", none, err)
	}
	if _, err := Recall([]byte("{")); !fault.Is(err, fault.Internal) {
		t.Errorf("%v", err)
	}
}

func TestPathsMoveWithTheStoreAndNothingElseDoes(t *testing.T) {
	m := Memory{Config: []byte(`{"StorePath":"/old/a\u0026b", "SSHKeyPath":"/old/a\u0026b/machines/web/id_rsa","Other":"/old/a\u0026bc","Text":"see /old/a\u0026b/x", "N": 1.0}`)}
	want := `{"StorePath":"/new \"q\"", "SSHKeyPath":"/new \"q\"/machines/web/id_rsa","Other":"/old/a\u0026bc","Text":"see /old/a\u0026b/x", "N": 1.0}`
	if got := string(m.ConfigAt(`/new "q"`)); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	for _, same := range []string{string(m.Config), `{"StorePath":""}`, `{"StorePath":"relative"}`, `{"StorePath":7}`, `{}`, `no JSON`, ``} {
		store := "/elsewhere"
		if same == string(m.Config) {
			store = "/old/a&b"
		}
		if got := string(Memory{Config: []byte(same)}.ConfigAt(store)); got != same {
			t.Errorf("%s became %s", same, got)
		}
	}
}
