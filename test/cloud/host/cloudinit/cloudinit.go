// Package cloudinit reads the user data of an instance: as much of cloud-init's as tests of drivers need.
package cloudinit

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Config is what shall happen at the first boot, in this order.
type Config struct {
	Hostname string
	Users    []User
	Files    []File
	Commands []Command
}

// User is an account to make. Whatever else it is given, it has bash for a shell, no password, and may become root.
type User struct {
	Name string   `yaml:"name"`
	Keys []string `yaml:"ssh_authorized_keys"`
}

// userKeys are what a user may have.
var userKeys = []string{"name", "ssh_authorized_keys", "shell", "sudo", "lock_passwd"}

// File is a file to write.
type File struct {
	Path        string `yaml:"path"`
	Content     string `yaml:"content"`
	Permissions string `yaml:"permissions"` // octal; empty for 0644
	Encoding    string `yaml:"encoding"`    // must be empty
}

// Mode returns the permissions.
func (f File) Mode() (int64, error) {
	if f.Permissions == "" {
		return 0o644, nil
	}
	return strconv.ParseInt(f.Permissions, 8, 64)
}

// Command is a shell's script, or else the arguments of a program.
type Command struct {
	Script    string
	Arguments []string
}

// document is the part of #cloud-config that is understood.
type document struct {
	Hostname string      `yaml:"hostname"`
	Users    []yaml.Node `yaml:"users"`
	Keys     []string    `yaml:"ssh_authorized_keys"`
	Files    []File      `yaml:"write_files"`
	Commands []yaml.Node `yaml:"runcmd"`
}

// Parse reads user data: nothing, a script that begins with "#!", or "#cloud-config". Keys that are not for a certain user
// are for the default user. What it does not understand is an error, so that no test believes in what does not happen.
func Parse(data, defaultUser string) (Config, error) {
	switch first, _, _ := strings.Cut(data, "\n"); {
	case strings.TrimSpace(data) == "":
		return Config{}, nil
	case strings.HasPrefix(data, "#!"):
		return Config{Commands: []Command{{Script: data}}}, nil
	case strings.TrimSpace(first) != "#cloud-config":
		return Config{}, fmt.Errorf("user data begins with %q, not with #cloud-config or #!", first)
	}
	var d document
	decoder := yaml.NewDecoder(strings.NewReader(data))
	decoder.KnownFields(true)
	if err := decoder.Decode(&d); err != nil {
		return Config{}, fmt.Errorf("user data: %w", err)
	}
	c := Config{Hostname: d.Hostname, Files: d.Files}
	if len(d.Keys) > 0 {
		c.Users = append(c.Users, User{Name: defaultUser, Keys: d.Keys})
	}
	for _, node := range d.Users {
		if node.Value == "default" {
			c.Users = append(c.Users, User{Name: defaultUser})
			continue
		}
		var u User
		var given map[string]any
		if err := errors.Join(node.Decode(&u), node.Decode(&given)); err != nil || u.Name == "" {
			return c, fmt.Errorf("user data: line %d is no user", node.Line)
		}
		for key := range given {
			if !slices.Contains(userKeys, key) {
				return c, fmt.Errorf("user data: %s of user %s is not understood", key, u.Name)
			}
		}
		c.Users = append(c.Users, u)
	}
	for _, f := range c.Files {
		if _, err := f.Mode(); err != nil || f.Encoding != "" || !strings.HasPrefix(f.Path, "/") {
			return c, fmt.Errorf("user data: the file %q is not understood", f.Path)
		}
	}
	for _, node := range d.Commands {
		var command Command
		target := any(&command.Arguments)
		if node.Kind == yaml.ScalarNode {
			target = &command.Script
		}
		if err := node.Decode(target); err != nil {
			return c, fmt.Errorf("user data: line %d is no command", node.Line)
		}
		c.Commands = append(c.Commands, command)
	}
	return c, nil
}
