package state

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/fairway-cni/fairway/pkg/kernel"
)

// LinkIPv6 is parameters of IPv6 of a container's link. They are written on one way into the container, after the link is made and
// before it carries a frame, which is when the kernel gives it a link-local address and takes what routers advertise. Later plugins of a
// chain may set them otherwise, so that there is nothing to verify.
type LinkIPv6 struct {
	// IgnoreRouters keeps the link from taking addresses and default routes from router advertisements (RFC 4862) beside those
	// it is given: any container of a bridge could send them to the others.
	IgnoreRouters bool
	// DAD leaves duplicate address detection on (RFC 4862, 5.4), for which the kernel's own addresses wait more than a second.
	// Without it they are usable at once: they are derived from the link's MAC, and a duplicate of that breaks IPv4 as well.
	DAD bool
}

// parameters are below the link's directory.
func (l LinkIPv6) parameters() (all []kernel.Assignment) {
	if l.IgnoreRouters {
		all = append(all, kernel.Assignment{Key: "accept_ra", Value: "0"})
	}
	if !l.DAD {
		all = append(all, kernel.Assignment{Key: "accept_dad", Value: "0"})
	}
	return all
}

func (LinkIPv6) directory(link string) string { return "net/ipv6/conf/" + link }

// Line is what Write does, as commands.
func (l LinkIPv6) Line(link string) string {
	var lines []string
	for _, p := range l.parameters() {
		lines = append(lines, Sysctl{In: Container, Key: l.directory(link) + "/" + p.Key, Value: p.Value}.String())
	}
	return strings.Join(lines, " && ")
}

// Write sets the parameters. A kernel without IPv6 has none, and takes nothing from routers.
func (l LinkIPv6) Write(k *kernel.Kernel, link string) error {
	settings := l.parameters()
	if len(settings) == 0 {
		return nil
	}
	err := k.Container.SetSysctls(l.directory(link), settings)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", l.Line(link), err)
	}
	return nil
}
