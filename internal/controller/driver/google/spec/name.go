package spec

import (
	"fmt"
	"strings"

	"google.golang.org/api/compute/v1"

	"mctl/internal/controller/driver"
	"mctl/internal/fault"
)

// Labels of all that is made for a machine. What can't have labels has them in its description.
const (
	LabelController = "mctl-controller"
	LabelMachine    = "mctl-machine"
)

// The names of a machine's disk and address are its own and a suffix.
const (
	diskSuffix    = "-disk"
	addressSuffix = "-address"
	maxName       = 63
	maxPrefix     = 30
)

// DiskName is the name of a machine's disk.
func DiskName(m driver.Machine) string { return m.Name + diskSuffix }

// AddressName is the name of the address that is reserved for a machine.
func AddressName(m driver.Machine) string { return m.Name + addressSuffix }

// CheckName refuses names that Google would refuse, for the machine or for what is made besides.
func CheckName(m driver.Machine, s Spec) error {
	longest := maxName - len(diskSuffix)
	if s.Reserve {
		longest = maxName - len(addressSuffix)
	}
	if s.Existing {
		longest = maxName
	}
	refuse := func(sentence, hint string) error {
		return fault.New("google.checkName", fault.Precondition, m.Name, sentence).WithHint(hint)
	}
	switch {
	case len(m.Name) > longest:
		return refuse(fmt.Sprintf("the name %q is too long for Google Compute Engine", m.Name), fmt.Sprintf("use at most %d characters", longest))
	case !wordPattern.MatchString(m.Name):
		return refuse(fmt.Sprintf("Google Compute Engine takes no instance of the name %q", m.Name),
			"use lower case letters, digits and -, beginning with a letter and not ending with -")
	}
	return nil
}

// Description tells whose something is where no label can.
func Description(m driver.Machine) string {
	return fmt.Sprintf("%s=%s %s=%s", LabelController, m.ControllerID, LabelMachine, m.UID)
}

// Described reads a Description of ours.
func Described(text string) (controller, machine string) {
	for field := range strings.FieldsSeq(text) {
		if value, ok := strings.CutPrefix(field, LabelController+"="); ok {
			controller = value
		}
		if value, ok := strings.CutPrefix(field, LabelMachine+"="); ok {
			machine = value
		}
	}
	return controller, machine
}

// Owns reports whether labels say that something was made for the machine.
func Owns(m driver.Machine, labels map[string]string) bool {
	return labels[LabelController] == m.ControllerID && labels[LabelMachine] == m.UID
}

// OwnsAddress is Owns for an address, whose labels come later than itself.
func OwnsAddress(m driver.Machine, address *compute.Address) bool {
	controller, machine := Described(address.Description)
	return controller == m.ControllerID && machine == m.UID
}
