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
