package ports

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/nftable"
)

// conflict says who has one of the ports already. The error wraps state.ErrConflict.
func (p Published) conflict(k *kernel.Kernel) error {
	if err := p.publishedByOther(k); err != nil {
		return err
	}
	return p.listening(k)
}

// publishedByOther looks for containers that have published a port in a form with which the kernel sees no conflict: alone and
// as one of a run, or as one of a run within this one. It sees the others itself, when they are added.
func (p Published) publishedByOther(k *kernel.Kernel) error {
	tag, each, listed := p.Owner.Tag(), p.eachPort(), listings{}
	for _, addr := range p.Addrs {
		for _, port := range each {
			if !port.serves(addr) {
				continue
			}
			others, err := port.overlapping(k, addr, listed, len(each) >= shortestRun)
			if err != nil {
				return err
			}
			for _, held := range others {
				if held.Comment != tag {
					return inUse(port, held.Comment)
				}
			}
		}
	}
	return nil
}

// listings are the elements of maps that were listed already, by the maps' names.
type listings map[string][]kernel.Element

func (l listings) of(k *kernel.Kernel, kind kind) (elements []kernel.Element, err error) {
	name := kind.published().Name
	elements, known := l[name]
	if !known {
		elements, err = nftable.ElementsOf(k, kind.published())
		l[name] = elements
	}
	return elements, err
}

// overlapping is the elements that have the port as one of a run; for a run, all that have one of its ports. One of many is not looked up by
// itself: runs are few.
func (p Port) overlapping(k *kernel.Kernel, addr netip.Addr, listed listings, many bool) (found []kernel.Element, err error) {
	if !p.isRun() && !many {
		of := kind{of: addr, anywhere: p.anywhere(), ports: true}
		held, err := nftable.LookUp(k, kernel.Element{Set: of.published(), Key: p.key(of, p.HostPort)})
		if held.Key != nil {
			found = append(found, held)
		}
		return found, err
	}
	for _, runs := range []bool{false, true} {
		if !p.isRun() && !runs {
			continue // the kernel sees these itself
		}
		of := kind{of: addr, anywhere: p.anywhere(), ports: runs}
		elements, err := listed.of(k, of)
		if err != nil {
			return nil, err
		}
		for _, e := range elements {
			if other, _, ok := of.read(e); ok && p.overlaps(other) {
				found = append(found, e)
			}
		}
	}
	return found, nil
}

// overlaps says whether two runs of one kind have a port in common.
func (p Port) overlaps(other Port) bool {
	return other.Protocol == p.Protocol && (p.anywhere() || other.HostIP == p.HostIP) &&
		(p.has(other.HostPort) || other.has(p.HostPort))
}

func (p Port) has(port uint16) bool { return port >= p.HostPort && port-p.HostPort <= p.More }

// asConflict is what the kernel found in the way.
func asConflict(taken *nftable.TakenError) error {
	if port, _, ok := portOf(taken.Wanted); ok {
		return inUse(port, taken.Held.Comment)
	}
	return fmt.Errorf("%w: %w", taken, state.ErrConflict)
}

// inUse names the owner of a port.
func inUse(p Port, tag string) error {
	owner := "another container (" + tag + ")"
	if parts := strings.Fields(tag); len(parts) == 4 {
		owner = fmt.Sprintf("container %s of network %s", parts[2], parts[1])
	}
	return fmt.Errorf("port %s is already published by %s, %w: stop that one, or choose another port of the host", p.host(), owner, state.ErrConflict)
}

// host is the host's side of a port.
func (p Port) host() string {
	text := run(p.HostPort, p.More) + "/" + ProtocolName(p.Protocol)
	if !p.anywhere() {
		text += " of " + p.HostIP.String()
	}
	return text
}

// listening looks for programs of the host that wait at one of the ports: translated, nobody would reach them any more.
func (p Published) listening(k *kernel.Kernel) error {
	for _, protocol := range []uint8{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
		if !slices.ContainsFunc(p.Ports, func(port Port) bool { return port.Protocol == protocol }) {
			continue
		}
		sockets, err := k.ListeningSockets(protocol)
		if err != nil {
			return err
		}
		for _, s := range sockets {
			for _, port := range p.Ports {
				if port.Protocol != protocol || !port.has(s.Local.Port()) || !p.meets(port, s) || slices.Contains(port.Holders, s.Inode) {
					continue
				}
				if program, own := holder(s.Inode, p.Owner.ContainerID); !own {
					return fmt.Errorf("port %d/%s of the host is in use: %s listens on %s, %w: stop it, or choose another port of the host",
						s.Local.Port(), ProtocolName(protocol), program, s.Local, state.ErrConflict)
				}
			}
		}
	}
	return nil
}

// meets says whether a socket and a port have an address of the host in common, of a family that the container has.
func (p Published) meets(port Port, s kernel.HostSocket) bool {
	local := s.Local.Addr()
	for _, addr := range p.Addrs {
		if !port.serves(addr) || local.Is4() != addr.Is4() && !(s.Dual && local.IsUnspecified()) {
			continue
		}
		if port.anywhere() || local.IsUnspecified() || local == port.HostIP {
			return true
		}
	}
	return false
}

// holder names the program that has a socket, and says whether it holds the port for this very container: nerdctl (2.1.6 and
// later) has `sleep infinity` hold the ports that it publishes, and conmon, which podman starts, names its container.
func holder(inode uint32, containerID string) (program string, own bool) {
	link := fmt.Sprintf("socket:[%d]", inode)
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range processes {
		if !hasOpen(dir, link) {
			continue
		}
		command, _ := os.ReadFile(dir + "/cmdline")
		arguments := strings.Split(string(bytes.TrimRight(command, "\x00")), "\x00")
		sibling := filepath.Base(arguments[0]) == "sleep" && parent(dir) == os.Getppid()
		if sibling || len(containerID) >= shortestID && slices.Contains(arguments, containerID) {
			return "", true
		}
		program = fmt.Sprintf("%s (process %s)", filepath.Base(arguments[0]), filepath.Base(dir))
	}
	if program == "" {
		program = "a program"
	}
	return program, false
}

// shortestID is how long the ID of a container has to be, so that a word of a command can only mean this one.
const shortestID = 12

// hasOpen says whether a process has a file open.
func hasOpen(dir, file string) bool {
	descriptors, err := os.ReadDir(dir + "/fd")
	if err != nil {
		return false // gone meanwhile, or not ours to see
	}
	for _, d := range descriptors {
		if target, err := os.Readlink(dir + "/fd/" + d.Name()); err == nil && target == file {
			return true
		}
	}
	return false
}

// parent is the parent of a process, or 0.
func parent(dir string) int {
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return 0
	}
	// The name, in parentheses, may hold anything.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 2 {
		return 0
	}
	pid, err := strconv.Atoi(fields[1])
	if err != nil && !errors.Is(err, strconv.ErrSyntax) {
		return 0
	}
	return pid
}
