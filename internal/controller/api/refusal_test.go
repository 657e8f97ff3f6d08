package api

import (
	"strings"
	"testing"
	"unicode"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	controllerv1 "mctl/proto/mctl/controller/v1"
)

// hostile are texts that mean something to a shell, a program that parses its arguments, a file of lines, or a terminal.
var hostile = []string{"$(id)", "`id`", "'", `"`, "a\nb", "-x", "--help", "\x1b[31m", "\u009b2J", "a b", ";id", "../x", "\x00", "| sh", ""}

func TestNamesThatNoHostCanHaveAreRefused(t *testing.T) {
	w := newWorld(t)
	client := controllerv1.NewMachineServiceClient(w.local())
	create := func(name string) error {
		_, err := client.CreateMachine(t.Context(), &controllerv1.CreateMachineRequest{Name: name, Spec: &controllerv1.MachineSpec{Driver: "pretend"}})
		return err
	}
	for _, name := range append(hostile, "a_b", "a..b", ".a", "a.", "a-", "a.-b", "ü", strings.Repeat("x", 64)) {
		err := create(name)
		if status.Code(err) != codes.InvalidArgument || strings.ContainsFunc(status.Convert(err).Message(), unicode.IsControl) {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"a", "1", "UPPER", "a-b.c-d", "xn--bcher-kva", strings.Repeat("x", 63)} {
		if err := create(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	if names, err := w.service.Names(t.Context()); err != nil || len(names) != 6 {
		t.Errorf("stored: %q, %v", names, err)
	}
}

func TestWhatNoHostCouldFulfilIsRefusedBeforeOneIsMade(t *testing.T) {
	w := newWorld(t)
	client := controllerv1.NewMachineServiceClient(w.local())
	engine := func(e *controllerv1.EngineSpec) *controllerv1.MachineSpec {
		return &controllerv1.MachineSpec{Engine: e}
	}
	for field, c := range map[string]struct {
		with  func(text string) *controllerv1.MachineSpec
		taken []string // what of the hostile texts is literal there
	}{
		"TLS SAN": {func(s string) *controllerv1.MachineSpec {
			return &controllerv1.MachineSpec{TlsSans: []string{"web", s}}
		}, nil},
		"authorized key": {func(s string) *controllerv1.MachineSpec {
			return &controllerv1.MachineSpec{SshAuthorizedKeys: []string{s}}
		}, nil},
		"engine option": {func(s string) *controllerv1.MachineSpec {
			return engine(&controllerv1.EngineSpec{Options: []string{s}})
		}, nil},
		"storage driver": {func(s string) *controllerv1.MachineSpec { return engine(&controllerv1.EngineSpec{StorageDriver: s}) }, []string{""}},
		"label":          {func(s string) *controllerv1.MachineSpec { return engine(&controllerv1.EngineSpec{Labels: []string{s}}) }, nil},
		"environment":    {func(s string) *controllerv1.MachineSpec { return engine(&controllerv1.EngineSpec{Env: []string{s}}) }, nil},
		"registry mirror": {func(s string) *controllerv1.MachineSpec {
			return engine(&controllerv1.EngineSpec{RegistryMirrors: []string{s}})
		}, []string{""}},
		"insecure registry": {func(s string) *controllerv1.MachineSpec {
			return engine(&controllerv1.EngineSpec{InsecureRegistries: []string{s}})
		}, []string{"$(id)", "`id`", "'", `"`, "-x", "--help", ";id", "../x"}},
		"install script": {func(s string) *controllerv1.MachineSpec { return engine(&controllerv1.EngineSpec{InstallUrl: s}) }, []string{""}},
		"script without": {func(string) *controllerv1.MachineSpec {
			return engine(&controllerv1.EngineSpec{Install: controllerv1.EngineInstall_ENGINE_INSTALL_SCRIPT})
		}, nil},
	} {
		for _, text := range hostile {
			spec := c.with(text)
			spec.Driver = "pretend"
			_, err := client.CreateMachine(t.Context(), &controllerv1.CreateMachineRequest{Name: "web", Spec: spec, ValidateOnly: true})
			message := status.Convert(err).Message()
			taken := false
			for _, literal := range c.taken {
				taken = taken || literal == text
			}
			if taken != (err == nil) || !taken && status.Code(err) != codes.InvalidArgument || strings.ContainsFunc(message, unicode.IsControl) {
				t.Errorf("%s %q: %v", field, text, err)
			}
		}
	}
	key := "restrict,command=\"$(id)\" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2lPdoG2zCSTSOPzyxPHl41XkcfIAtFzGxFyPBKvFVZ it's `me`"
	spec := &controllerv1.MachineSpec{
		Driver: "pretend", TlsSans: []string{"*.example.com", "192.0.2.1", "2001:db8::1"}, SshAuthorizedKeys: []string{key},
		Engine: &controllerv1.EngineSpec{
			Labels: []string{"a=$(id)", "b=`id` 'x' \"y\"", "-c=-d"}, Env: []string{"A=$(id) %h"}, Options: []string{"log-opt=tag={{.Name}} $(id)"},
		},
	}
	made, err := client.CreateMachine(t.Context(), &controllerv1.CreateMachineRequest{Name: "web", Spec: spec})
	if err != nil {
		t.Fatal(err)
	}
	if got := made.GetMachine().GetSpec(); strings.Join(got.GetEngine().GetLabels(), "\n") != strings.Join(spec.Engine.Labels, "\n") ||
		got.GetSshAuthorizedKeys()[0] != key || got.GetEngine().GetEnv()[0] != spec.Engine.Env[0] {
		t.Errorf("not literally: %v", got)
	}
}
