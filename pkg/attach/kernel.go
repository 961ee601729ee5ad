package attach

import (
	"errors"
	"fmt"

	"github.com/fairway-cni/fairway/pkg/cnierr"
	"github.com/fairway-cni/fairway/pkg/kernel"
)

// open opens the kernel until the end of the call.
func (c *call) open(netns string) (*kernel.Kernel, error) {
	k, err := kernel.Open(netns)
	if err == nil {
		c.kernel = k
		k.LeaveAside()
	}
	return k, err
}

// close closes what the call opened.
func (c *call) close() {
	if c.kernel != nil {
		c.kernel.Close()
	}
}

// inHost says whether the call names the host's own namespace as the container's, and does not insist on it.
func (c *call) inHost() bool { return !c.env.NetnsOverride && kernel.IsHost(c.env.Netns) }

// openContainer opens the kernel for ADD and CHECK, which need the container's namespace.
func (c *call) openContainer() (*kernel.Kernel, error) {
	if c.inHost() {
		return nil, cnierr.Errorf(kernel.ErrNotNamespace, "CNI_NETNS %s is the host's own network namespace: give the container's", c.env.Netns)
	}
	k, err := c.open(c.env.Netns)
	if err != nil {
		return nil, fmt.Errorf("CNI_NETNS %w: give the path of a network namespace, such as /run/netns/NAME", err)
	}
	return k, nil
}

// openForDel opens the kernel, without the container when its namespace has gone or is the host's.
func (c *call) openForDel() (*kernel.Kernel, error) {
	if c.inHost() {
		return c.openForRemoval("")
	}
	k, err := c.openForRemoval(c.env.Netns)
	if errors.Is(err, kernel.ErrNoNamespace) || errors.Is(err, kernel.ErrNotNamespace) {
		return c.openForRemoval("")
	}
	return k, err
}

// openForRemoval opens the kernel for a verb that takes something away, after which the process has nothing to wait for.
func (c *call) openForRemoval(netns string) (*kernel.Kernel, error) {
	k, err := c.open(netns)
	if err == nil {
		k.WaitAside()
	}
	return k, err
}
