package kernel_test

import (
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// connection tells the kernel of a connection between two addresses, of which the reply goes between two others when
// they are translated. The port makes it different from others.
func connection(t *testing.T, protocol string, port int, from, to, replyFrom, replyTo string) {
	t.Helper()
	args := []string{
		"-I", "-p", protocol, "-t", "100", "-s", from, "-d", to, "-r", replyFrom, "-q", replyTo,
		"--sport", fmt.Sprint(port), "--dport", "80", "--reply-port-src", "80", "--reply-port-dst", fmt.Sprint(port),
	}
	if protocol == "tcp" {
		args = append(args, "--state", "ESTABLISHED")
	}
	testnet.Sh(t, "conntrack", args...)
}

func connections(t *testing.T, family string) string {
	t.Helper()
	out, err := exec.Command("conntrack", "-L", "-f", family).Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestForgetConnections(t *testing.T) {
	for _, test := range []struct{ family, ours, others, outside, host string }{
		{"ipv4", "10.0.0.2", "10.0.0.3", "192.0.2.2", "192.0.2.1"},
		{"ipv6", "fd00::2", "fd00::3", "fd99::2", "fd99::1"},
	} {
		t.Run(test.family, func(t *testing.T) {
			testnet.NewHost(t)
			k := open(t, "")
			for _, protocol := range []string{"udp", "tcp"} {
				for i, container := range []string{test.ours, test.others} {
					connection(t, protocol, 1000+i, container, test.outside, test.outside, test.host) // masqueraded
					connection(t, protocol, 2000+i, test.outside, test.host, container, test.outside) // through a published port
				}
			}
			if err := k.ForgetConnections(netip.MustParseAddr(test.ours)); err != nil {
				t.Fatal(err)
			}
			left := connections(t, test.family)
			if strings.Contains(left, "src="+test.ours+" ") {
				t.Errorf("a connection of %s is left:\n%s", test.ours, left)
			}
			if got := strings.Count(left, "src="+test.others+" "); got != 4 {
				t.Errorf("%d connections of %s are left, want 4:\n%s", got, test.others, left)
			}
			if err := k.ForgetConnections(netip.MustParseAddr(test.ours)); err != nil {
				t.Errorf("again: %v", err)
			}
		})
	}
}
