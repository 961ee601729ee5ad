package attachment

import (
	"bytes"
	"os"
	"strings"

	"github.com/fairway-cni/fairway/pkg/kernel"
)

// Alive says whether the container's namespace is still there. The kernel gives the number of a process to another one
// later, so that behind a path in /proc the interface has to be there too.
func (a Attachment) Alive() bool {
	if a.Netns == "" {
		return false
	}
	k, err := kernel.Open(a.Netns)
	if err != nil {
		return false
	}
	defer k.Close()
	return !strings.HasPrefix(a.Netns, "/proc/") || a.hasInterface(k)
}

// hasInterface looks for the interface by its name, or by its MAC in case the container has renamed it.
func (a Attachment) hasInterface(k *kernel.Kernel) bool {
	links, err := k.Container.LinkList()
	if err != nil {
		return false
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
