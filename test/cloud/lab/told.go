package lab

// What callers of the API are told; see Instance and Instances.

// Disk returns one; NotFound when there is none.
func (l *Lab) Disk(ref Ref) (Disk, error) { return told(l, &l.disks, "disk", ref) }

// Disks lists all.
func (l *Lab) Disks() []Disk { return allTold(l, &l.disks) }

// Address returns one; NotFound when there is none.
func (l *Lab) Address(ref Ref) (Address, error) { return told(l, &l.addresses, "address", ref) }

// Addresses lists all.
func (l *Lab) Addresses() []Address { return allTold(l, &l.addresses) }

// Network returns one; NotFound when there is none.
func (l *Lab) Network(ref Ref) (Network, error) { return told(l, &l.networks, "network", ref) }

// Networks lists all.
func (l *Lab) Networks() []Network { return allTold(l, &l.networks) }

// Subnet returns one; NotFound when there is none.
func (l *Lab) Subnet(ref Ref) (Subnet, error) { return told(l, &l.subnets, "subnet", ref) }

// Subnets lists all.
func (l *Lab) Subnets() []Subnet { return allTold(l, &l.subnets) }

// Rule returns one; NotFound when there is none.
func (l *Lab) Rule(ref Ref) (Rule, error) { return told(l, &l.rules, "rule", ref) }

// Rules lists all.
func (l *Lab) Rules() []Rule { return allTold(l, &l.rules) }

func told[T interface{ record() Record }](l *Lab, t *table[T], kind string, ref Ref) (T, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	value, ok := t.told(ref)
	if !ok {
		return value, refuse(NotFound, "there is no %s %s", kind, ref.Name)
	}
	return value, nil
}

func allTold[T interface{ record() Record }](l *Lab, t *table[T]) []T {
	l.mu.Lock()
	defer l.mu.Unlock()
	return t.allTold()
}
