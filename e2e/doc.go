// Package e2e holds the end-to-end tests: the built binaries in bin/ under real runtimes, looked at from outside only.
//
// The tests need root, because containerd and podman do, and the tools that scripts/install-test-tools installs. They run
// in network, mount and process namespaces of their own, in which /run, /etc/cni, /opt/cni/bin and /var/lib/cni are
// empty at first; whatever they start ends with them.
package e2e
