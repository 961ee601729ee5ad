package state

import (
	"fmt"
	"strings"

	"github.com/fairway-cni/fairway/pkg/kernel"
)

// Sysctl is a kernel parameter. It is set and never reset, as others may have come to rely on it.
type Sysctl struct {
	Attribute
	In Place
	// Key has slashes: net/ipv4/ip_forward. A link's name may hold dots.
	Key   string
	Value string
}

func (s Sysctl) Place() Place { return s.In }

func (s Sysctl) String() string { return fmt.Sprintf("sysctl -w %s=%s", s.Key, s.Value) }

// Ensure writes the parameter unless it has the value: reading is cheap, and writing some takes the kernel's RTNL lock.
func (s Sysctl) Ensure(k *kernel.Kernel) (bool, error) {
	written, err := s.In.In(k).SettleSysctl(s.Key, s.Value, s.is)
	if err != nil {
		return false, fmt.Errorf("%s: %w", s, err)
	}
	return written, nil
}

// Verify reads the parameter.
func (s Sysctl) Verify(k *kernel.Kernel) error {
	value, err := s.In.In(k).Sysctl(s.Key)
	if err != nil {
		return fmt.Errorf("sysctl %s: %w", s.Key, err)
	}
	if !s.is(value) {
		return Driftf("%s is %s instead of %s", strings.ReplaceAll(s.Key, "/", "."), value, s.Value)
	}
	return nil
}

// is says whether the kernel's value is the declared one. It separates the parts of one by tabs, people by spaces.
func (s Sysctl) is(value string) bool {
	return strings.Join(strings.Fields(value), " ") == strings.Join(strings.Fields(s.Value), " ")
}

// IgnoreRouters keeps a link of the host from taking addresses and routes that others advertise (RFC 4861, 6.3.4): what
// containers say of routers is no business of the host. A kernel without IPv6 has no such file, and no routers either.
func IgnoreRouters(k *kernel.Kernel, link string) {
	if value, err := k.Host.AcceptsRouters(link); err == nil && value != "0" {
		_ = k.Host.SetSysctl(AcceptRA(link), "0") // VerifyIgnoresRouters reports it
	}
}

// SkipDetection lets a link that is made for containers have its link-local address at once, instead of more than a second after
// its first carrier (RFC 4862, 5.4): until then, the host asks nobody there for a MAC on behalf of a packet that it forwards.
// It is derived from a MAC which no other has. A kernel without IPv6 has no such file.
func SkipDetection(k *kernel.Kernel, link string) {
	_ = k.Host.SetSysctl("net/ipv6/conf/"+link+"/accept_dad", "0") // it works later, then
}

// AcceptRA is the parameter that IgnoreRouters sets.
func AcceptRA(link string) string { return "net/ipv6/conf/" + link + "/accept_ra" }

// VerifyIgnoresRouters looks at what IgnoreRouters has set.
func VerifyIgnoresRouters(k *kernel.Kernel, link string) error {
	if value, err := k.Host.Sysctl(AcceptRA(link)); err == nil && value != "0" {
		return Driftf("%s takes router advertisements from containers (accept_ra is %s)", link, value)
	}
	return nil
}
