package plugin

import (
	"path/filepath"

	"mctl/internal/controller/driver"
	"mctl/internal/controller/driver/plugin/folder"
	"mctl/internal/controller/driver/plugin/memory"
)

// recall is what is remembered of a host: what the plugin told last, or else what docker-machine kept of it.
func recall(m driver.Machine, dir *folder.Folder, known memory.Memory) memory.Memory {
	from := m.Imported
	if len(m.State) > 0 || from == nil || len(from.Config) == 0 {
		return known
	}
	return memory.Imported(from.Config, from.StorePath, dir.Path, from.Key, filepath.Join(dir.Path, "machines", m.Name, "id_rsa"))
}

// Export implements driver.Exporter.
func (d *Driver) Export(m driver.Machine) (driver.Imported, error) {
	known, err := memory.Recall(m.State)
	if err != nil {
		return driver.Imported{}, err
	}
	if len(m.State) == 0 && m.Imported != nil {
		return *m.Imported, nil
	}
	dir, err := folder.Open(d.plugins.config.ownFolders(), d.account, m.UID, m.Name)
	if err != nil {
		return driver.Imported{}, err
	}
	dir.Close()
	return driver.Imported{Config: known.Config, StorePath: dir.Path, Key: known.Key}, nil
}
