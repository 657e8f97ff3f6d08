package bootstrap

import "sync"

// maxContacts bounds checks that no installation followed.
const maxContacts = 1000

// contacts are host keys that a check saw, by machine, so that the installation that follows meets the same host. The keys
// are lost with the process: then the installation is the first contact.
type contacts struct {
	mu   sync.Mutex
	keys map[string][]string
}

func (c *contacts) remember(uid string, keys []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if uid == "" {
		return
	}
	if len(c.keys) >= maxContacts {
		clear(c.keys)
	}
	c.keys[uid] = keys
}

func (c *contacts) recall(uid string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.keys[uid]
}

func (c *contacts) forget(uid string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.keys, uid)
}
