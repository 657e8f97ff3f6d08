package buildinfo

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Header carries a side's version in gRPC metadata.
const Header = "mctl-version"

// Compatible reports whether a caller's version may talk to a controller of ours: releases at most one minor apart. Builds
// that are no release, such as "dev", always may.
func Compatible(ours, theirs string) error {
	a, okA := minor(ours)
	b, okB := minor(theirs)
	if !okA || !okB || a-b <= 1 && b-a <= 1 {
		return nil
	}
	if a < b {
		return fmt.Errorf("the controller has version %s and the caller %s: upgrade the controller", ours, theirs)
	}
	return fmt.Errorf("the controller has version %s and the caller %s: upgrade the caller", ours, theirs)
}

// Development reports whether this build is no release, so that it may offer what is for tests and benchmarks alone.
func Development() bool {
	_, release := minor(Version())
	return !release
}

// minor reads vMAJOR.MINOR…; the major counts for a thousand minors.
func minor(version string) (int, bool) {
	parts := strings.Split(strings.TrimPrefix(version, "v"), ".")
	if len(parts) < 3 || !strings.HasPrefix(version, "v") {
		return 0, false
	}
	major, err := strconv.Atoi(parts[0])
	if err != nil {
		return 0, false
	}
	n, err := strconv.Atoi(parts[1])
	return major*1000 + n, err == nil
}

// Stamp tells whether a program file was replaced since: its size and time of change. It costs one system call, unlike a
// digest, so a client can look at it for every command. A file that can't be looked at has no stamp.
func Stamp(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%d-%d", info.Size(), info.ModTime().UnixNano())
}
