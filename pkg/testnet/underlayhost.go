package testnet

import (
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Host is a host on an underlay. Its namespace is one for links, mounts and the host's name: what it has below /run,
// /etc/cni, /etc/fairway, /opt/cni/bin, /var/lib/cni, /var/lib/etcd and /var/lib/fairway is its own.
type Host struct {
	*Namespace
	hostRecord
	hosts  *Hosts
	number int
	dir    string
}

// hostRecord is what is known of a host on disk.
type hostRecord struct {
	// Name is the host's own, and that of its link in the underlay: host1, host2, …
	Name string `json:"name"`
	// V4 and V6 are its addresses on eth0, the first in a /24, the second in a /64.
	V4   netip.Addr `json:"v4"`
	V6   netip.Addr `json:"v6"`
	Home home       `json:"home"`
}

func newHost(h *Hosts, number int) *Host {
	host := &Host{Namespace: &Namespace{}, hosts: h, number: number}
	host.Name = fmt.Sprintf("host%d", number)
	host.V4, host.V6 = hostAddresses(number)
	host.dir = filepath.Join(h.config.Dir, host.Name)
	return host
}

// locate finds the namespaces by the holder.
func (h *Host) locate() { *h.Namespace = h.Home.namespaces() }

// raise boots the host.
func (h *Host) raise() error {
	held, err := startHolder(h.hosts.config.Life)
	if err != nil {
		return err
	}
	h.Home = home{held.processID, newUUID()}
	h.locate()
	if err := errors.Join(h.hosts.save(), held.keep()); err != nil {
		return err
	}
	if err := h.Do(h.furnish); err != nil {
		return err
	}
	return h.plug()
}

// plug lays the cable to the underlay.
func (h *Host) plug() error {
	// A host has the same MAC after a reboot: its neighbours would not ask again for half a minute.
	err := h.hosts.Underlay.batch(fmt.Sprintf(`link add %s type veth peer name eth0 netns %d address 02:00:c0:00:03:%02x
link set %[1]s up master sw`, h.Name, h.Home.Pid, h.number))
	if err != nil {
		return err
	}
	if err := h.batch("link set lo up\nlink set eth0 up"); err != nil {
		return err
	}
	return h.batch(h.addressing())
}

// addressing is what `ip` has to be told after the host's addresses are known.
func (h *Host) addressing() string {
	return fmt.Sprintf(`addr add %s/24 dev eth0
addr add %s/64 dev eth0 nodad
route replace default via %s
route replace default via %s`, h.V4, h.V6, Gateway4, Gateway6)
}

// Cut takes the carrier from eth0.
func (h *Host) Cut() error { return h.hosts.Underlay.batch("link set " + h.Name + " down") }

// Mend brings it back.
func (h *Host) Mend() error { return h.hosts.Underlay.batch("link set " + h.Name + " up") }

// Readdress gives the host other addresses, of 192.0.2.0/24 and 2001:db8::/64, in place of those that it has.
func (h *Host) Readdress(v4, v6 netip.Addr) error {
	h.V4, h.V6 = v4, v6
	if err := h.batch("addr flush dev eth0 scope global\n" + h.addressing()); err != nil {
		return err
	}
	return h.hosts.save()
}

// Reboot ends all that runs on the host, and with it links, rules and what is mounted; only its directories stay, without
// /run. It comes back with another boot ID.
func (h *Host) Reboot() error {
	// The kernel takes the link away later than the namespace, and its name is needed.
	if err := h.hosts.Underlay.batch("link del " + h.Name); err != nil {
		return err
	}
	if err := h.Home.endAll(); err != nil {
		return err
	}
	return h.raise()
}

// File is the way from outside to a file of the host.
func (h *Host) File(path string) string { return h.Home.file(path) }

// Alive says whether the host is still up: a holder may have been killed.
func (h *Host) Alive() bool { return h.Home.alive() }

// Processes is how many processes the host has, with those of its containers.
func (h *Host) Processes() (count int, err error) {
	found, err := h.Home.residents()
	return len(found), err
}

// batch runs commands of ip(8), one a line; those with addresses of IPv6 only where the kernel has it.
func (n *Namespace) batch(commands string) error {
	if !HasIPv6() {
		lines := slices.DeleteFunc(strings.Split(commands, "\n"), func(line string) bool { return strings.Contains(line, "::") })
		commands = strings.Join(lines, "\n")
	}
	ip := n.Command("ip", "-batch", "-")
	ip.Stdin = strings.NewReader(commands)
	return run(ip)
}

func run(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
