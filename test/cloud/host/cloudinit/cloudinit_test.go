package cloudinit_test

import (
	"reflect"
	"testing"

	"mctl/test/cloud/host/cloudinit"
)

func TestUserDataIsUnderstood(t *testing.T) {
	for data, want := range map[string]cloudinit.Config{
		"":                  {},
		"  \n":              {},
		"#!/bin/sh\nid\n":   {Commands: []cloudinit.Command{{Script: "#!/bin/sh\nid\n"}}},
		"#cloud-config\n{}": {},
		`#cloud-config
hostname: web
ssh_authorized_keys: [k1]
users:
  - default
  - name: ops
    shell: /bin/bash
    sudo: ALL=(ALL) NOPASSWD:ALL
    ssh_authorized_keys:
      - k2
write_files:
  - {path: /etc/x, content: "a\n", permissions: "0600"}
runcmd:
  - echo hi
  - [touch, "/a b"]
`: {
			Hostname: "web",
			Users:    []cloudinit.User{{Name: "debian", Keys: []string{"k1"}}, {Name: "debian"}, {Name: "ops", Keys: []string{"k2"}}},
			Files:    []cloudinit.File{{Path: "/etc/x", Content: "a\n", Permissions: "0600"}},
			Commands: []cloudinit.Command{{Script: "echo hi"}, {Arguments: []string{"touch", "/a b"}}},
		},
	} {
		got, err := cloudinit.Parse(data, "debian")
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q:\nwant %+v\ngot  %+v %v", data, want, got, err)
		}
	}
}

func TestWhatIsNotUnderstoodIsAnError(t *testing.T) {
	for _, data := range []string{
		"hello", "#cloud-boothook\n", "#cloud-config\n[", "#cloud-config\npackages: [docker.io]\n", "#cloud-config\nusers: [ops]\n",
		"#cloud-config\nusers: [{shell: /bin/sh}]\n", "#cloud-config\nusers: [{name: ops, groups: [x]}]\n", "#cloud-config\nwrite_files: [{path: x}]\n", "#cloud-config\nwrite_files: [{path: /x, encoding: b64}]\n",
		"#cloud-config\nwrite_files: [{path: /x, permissions: rw}]\n", "#cloud-config\nruncmd: [{a: b}]\n",
	} {
		if got, err := cloudinit.Parse(data, "debian"); err == nil {
			t.Errorf("%q was understood as %+v", data, got)
		}
	}
}
