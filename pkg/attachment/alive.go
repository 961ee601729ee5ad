package attachment

import (
	"bytes"
	"errors"
	"os"
	"strings"

	"github.com/fairway-cni/fairway/pkg/kernel"
)

// Alive says whether the container's namespace is still there. The kernel gives the number of a process to another one
// later, so that behind a path in /proc the interface has to be there too. Where it cannot be told, the container is taken
// for alive: to take the network from one that lives is worse than to keep what a dead one has left.
func (a Attachment) Alive() bool {
	ofProcess := strings.HasPrefix(a.Netns, "/proc/")
	if a.Netns == "" || ofProcess && inSandbox() {
		return true
	}
	k, err := kernel.Open(a.Netns)
	if errors.Is(err, kernel.ErrNoNamespace) || errors.Is(err, kernel.ErrNotNamespace) {
		return false
	}
	if err != nil {
		return true
	}
	defer k.Close()
	return !ofProcess || a.hasInterface(k)
}

// SandboxInit is what the first process of a container of `fairway run` is called.
const SandboxInit = "fairway-init"

// inSandbox says whether this is a process in a container of `fairway run`. It sees the cache of the machine, and none of the
// machine's processes.
func inSandbox() bool {
	first, err := os.ReadFile("/proc/1/cmdline")
	return err == nil && bytes.HasPrefix(first, []byte(SandboxInit+"\x00"))
}

// hasInterface looks for the interface by its name, or by its MAC in case the container has renamed it.
func (a Attachment) hasInterface(k *kernel.Kernel) bool {
	links, err := kernel.Dump(k.Container.LinkList)
	if err != nil {
		return true
	}
	for _, link := range links {
		attrs := link.Attrs()
		if a.MAC == nil && attrs.Name == a.IfName || a.MAC != nil && bytes.Equal(attrs.HardwareAddr, a.MAC) {
			return true
		}
	}
	return false
}

// In says whether the attachment is of a container in the namespace that another path leads to.
func (a Attachment) In(netns string) bool {
	own, err := os.Stat(a.Netns)
	if err != nil {
		return false
	}
	other, err := os.Stat(netns)
	return err == nil && os.SameFile(own, other)
}
