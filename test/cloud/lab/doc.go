// Package lab is a small cloud for tests: instances that are hosts or records, disks, addresses, networks, ingress rules,
// operations, and faults on demand. It speaks no provider's language: fronts do, such as test/cloud/google.
package lab
