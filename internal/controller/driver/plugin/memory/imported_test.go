package memory

import (
	"testing"
)

func TestAnImportedJSONKeepsEveryByteButThePathsOfItsStore(t *testing.T) {
	const before = `{"InstanceId":"i-1", "StorePath":"/home/u/.docker/machine","SSHKeyPath" : "/home/u/.docker/machine/machines/web/id_rsa",` +
		`"Disk":"/home/u/.docker/machine/machines/web/disk.vmdk","Odd":1.50,"Text":"/home/u/.docker/machine2","Esc":"\u003ca\u003e"}`
	const after = `{"InstanceId":"i-1", "StorePath":"/new","SSHKeyPath" : "/new/machines/web/id_rsa",` +
		`"Disk":"/new/machines/web/disk.vmdk","Odd":1.50,"Text":"/home/u/.docker/machine2","Esc":"\u003ca\u003e"}`
	m := Imported([]byte(before), "/home/u/.docker/machine", "/new", []byte("key"), "/new/machines/web/id_rsa")
	if string(m.Config) != after {
		t.Errorf("it is\n%s\nwant\n%s", m.Config, after)
	}
	if m.ID != "i-1" || !m.Begun || !m.Made || string(m.Key) != "key" {
		t.Errorf("%+v", m)
	}
	again, err := Recall(m.Encode())
	if err != nil || string(again.Config) != after {
		t.Errorf("remembered as %s, %v", again.Config, err)
	}
}

func TestAKeyOutsideOfTheStoreComesIntoThePluginsFolder(t *testing.T) {
	const config = `{"SSHKeyPath":"/home/u/.ssh/id_rsa","StorePath":"/old"}`
	if m := Imported([]byte(config), "/old", "/new", []byte("key"), "/new/k"); string(m.Config) != `{"SSHKeyPath":"/new/k","StorePath":"/new"}` {
		t.Errorf("%s", m.Config)
	}
	if m := Imported([]byte(config), "/old", "/new", nil, "/new/k"); string(m.Config) != `{"SSHKeyPath":"/home/u/.ssh/id_rsa","StorePath":"/new"}` {
		t.Errorf("without a key: %s", m.Config)
	}
}
