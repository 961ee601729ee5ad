package main

import (
	"fmt"
	"strings"

	"github.com/containernetworking/cni/libcni"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// container is what a runtime knows of one: its namespace, its network, and what ADD answered.
type container struct {
	*testnet.Namespace
	id       string
	network  *libcni.NetworkConfigList
	host     *testnet.Namespace // nil: the one of this process
	answered answer
}

// onHost runs f on the container's host: what f executes runs there.
func (c *container) onHost(f func() error) error {
	if c.host == nil {
		return f()
	}
	return c.host.Do(f)
}

// addresses are those of the result, without prefix lengths.
func (c *container) addresses() []string {
	var addresses []string
	for _, ip := range c.answered.result.IPs {
		addresses = append(addresses, ip.Address.IP.String())
	}
	return addresses
}

// busybox runs one of its programs inside the container.
func (c *container) busybox(args ...string) (string, error) {
	out, err := c.Command("busybox", args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s in %s: %w: %s", strings.Join(args, " "), c.id, err, out)
	}
	return string(out), nil
}

// attach starts a container on a network and shows how it came about.
func (s *stage) attach(id, conflist string) error { return s.attachOn(nil, id, conflist) }

// attachOn is attach on another host.
func (s *stage) attachOn(host *testnet.Namespace, id, conflist string) error {
	network, err := libcni.NetworkConfFromBytes([]byte(conflist))
	if err != nil {
		return err
	}
	namespace, err := testnet.New(id)
	if err != nil {
		return err
	}
	return s.start(&container{Namespace: namespace, id: id, network: network, host: host})
}

func (s *stage) start(c *container) (err error) {
	if c.answered, err = s.runtime.add(c); err != nil {
		return err
	}
	s.containers[c.id] = c
	s.page.tick("ADD "+c.id, fmt.Sprintf("%-9s %s", milliseconds(c.answered.took), strings.Join(c.addresses(), " ")))
	if c.host != nil {
		return nil // as on this host
	}
	for _, o := range c.answered.created {
		s.page.object(o.namespace, o.command)
	}
	return nil
}

func (s *stage) check(id, verdict string) error {
	took, err := s.runtime.check(s.containers[id])
	if err == nil {
		s.page.tick("CHECK "+id, fmt.Sprintf("%-9s %s", milliseconds(took), verdict))
	}
	return err
}

func (s *stage) detach(id string) error {
	took, err := s.runtime.del(s.containers[id])
	if err == nil {
		s.page.tick("DEL "+id, milliseconds(took))
	}
	return err
}

// ping shows the round trip that busybox prints as "time=0.065 ms".
func (s *stage) ping(from *container, name, address string) error {
	out, err := from.busybox("ping", "-c", "1", "-W", "2", address)
	if err != nil {
		return err
	}
	_, time, _ := strings.Cut(out, "time=")
	time, _, _ = strings.Cut(time, "\n")
	s.page.tick(from.id+" reaches "+name, fmt.Sprintf("%-9s ping %s", time, address))
	return nil
}

// byHand runs a command in the container, as an administrator would.
func (s *stage) byHand(c *container, command ...string) error {
	s.page.line("$", "in "+c.id, strings.Join(command, " "))
	out, err := c.Command(command[0], command[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(command, " "), err, out)
	}
	return nil
}
