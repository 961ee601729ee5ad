package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/names"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// aardvark is the resolver of podman's netavark, as Debian installs it.
const aardvark = "/usr/lib/podman/aardvark-dns"

// startAardvark has aardvark-dns answer for containers at the address of their bridge, with what it is told of them in a file. It gives
// the containers as those that ask there.
func startAardvark(host *testnet.Namespace, containers []container, dir string) (asking []container, end func() error, err error) {
	gateway := netip.MustParsePrefix(v4).Addr().Next()
	text := gateway.String() + "\n"
	for _, c := range containers {
		out, err := c.ns.Command("ip", "-4", "-br", "address", "show", "dev", "eth0").Output()
		fields := strings.Fields(string(out))
		if err != nil || len(fields) < 3 {
			return nil, nil, fmt.Errorf("address of %s: %w: %q", c.id, err, out)
		}
		address, _, _ := strings.Cut(fields[2], "/")
		text += fmt.Sprintf("%s %s  %s\n", c.id, address, names.ShortID(c.id))
		c.server = netip.AddrPortFrom(gateway, 53)
		asking = append(asking, c)
	}
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, networkName), []byte(text), 0o644)); err != nil {
		return nil, nil, err
	}
	if err := host.Command(aardvark, "--config", dir, "-p", "53", "run").Run(); err != nil { // it goes on in the background
		return nil, nil, fmt.Errorf("%s: %w: is the package aardvark-dns installed?", aardvark, err)
	}
	pid, err := pidIn(filepath.Join(dir, "aardvark.pid"))
	if err != nil {
		return nil, nil, err
	}
	return asking, func() error { return unix.Kill(pid, unix.SIGKILL) }, nil
}

// pidIn waits for the number of a process in a file.
func pidIn(path string) (pid int, err error) {
	for range 500 {
		var text []byte
		if text, err = os.ReadFile(path); err == nil {
			if pid, err = strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
				return pid, nil
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	return 0, err
}
