package google

import (
	"fmt"
	"strings"
	"testing"

	"mctl/internal/controller/driver"
)

func TestAnInstanceIsMadeWithItsUserDataAndHandedOthers(t *testing.T) {
	s := newStub(t)
	d := New(quick(t))
	m := machineOn(t, s, "web", "google-bootstrap", "userdata", "google-metadata", "color=green")
	m.UserData = &driver.UserData{Script: "mctl_join() { :; }\n", Values: []byte("orders first\n")}
	made := create(t, d, m)
	const path = "zones/us-central1-a/instances/web"
	metadata := func() string { return fmt.Sprint(s.get(path)["metadata"]) }
	for _, want := range []string{"#!/bin/bash\nmctl_join()", "| mctl_join\n", "orders first", "color", "ssh-keys"} {
		if !strings.Contains(metadata(), want) {
			t.Errorf("no %q in %s", want, metadata())
		}
	}
	m.State = made.State
	m.UserData.Values = []byte("orders second\n")
	for n := range 2 { // it may be repeated
		again, err := d.BootUserData(t.Context(), m)
		if err != nil || again.Power != driver.Running {
			t.Fatalf("%+v, %v", again, err)
		}
		if got := metadata(); !strings.Contains(got, "orders second") || strings.Contains(got, "orders first") || !strings.Contains(got, "color") {
			t.Errorf("the metadata are %s", got)
		}
		if resets := s.get(path)["stubResets"]; resets != n+1 {
			t.Errorf("%v resets", resets)
		}
	}
	if _, err := d.Stop(t.Context(), m, false); err != nil {
		t.Fatal(err)
	}
	if again, err := d.BootUserData(t.Context(), m); err != nil || again.Power != driver.Running || s.get(path)["stubResets"] != 2 {
		t.Errorf("one that was off: %+v, %v, %v resets", again, err, s.get(path)["stubResets"])
	}
}
