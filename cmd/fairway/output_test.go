package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// full is an output that takes nothing, as /dev/full.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, unix.ENOSPC }

// TestFullOutput: what could not be printed is a failure of every command, whatever it has done.
func TestFullOutput(t *testing.T) {
	s := newShell(t)
	for _, args := range [][]string{
		{"create", "one"}, {"ls"}, {"inspect", "one"}, {"install", "bridge"}, {"prune", "-f"}, {"create", "two"}, {"rm", "two"}, {"--help"}, {"create", "--dry-run", "three"}, {"ps"}, {"--version"},
	} {
		var said bytes.Buffer
		status := run(&env{stdin: strings.NewReader(""), stdout: full{}, stderr: &said}, append([]string{"--netconf-dir", s.dir, "--cni-path", testnet.PluginDir}, args...))
		if status == 0 || !strings.Contains(said.String(), "no space left on device") {
			t.Errorf("%q: status %d, %q", args, status, said.String())
		}
	}
}

// TestHostileError: what others have named moves no cursor, and says nothing in fairway's name.
func TestHostileError(t *testing.T) {
	var said bytes.Buffer
	e := &env{stderr: &said}
	e.complain(unix.ENOENT)
	e.warn(hostile{})
	if got := said.String(); strings.ContainsAny(got, "\x1b\r\u009b") || strings.Count(got, "\n") != 2 {
		t.Errorf("%q", got)
	}
}

type hostile struct{}

func (hostile) Error() string { return "container \x1b[2Jweb\u009b\r\nfairway: pwned" }

// TestSaidOnce: what stands in the way of several steps is said once.
func TestSaidOnce(t *testing.T) {
	var said bytes.Buffer
	(&env{stderr: &said}).complain(errors.Join(unix.EACCES, unix.EACCES, unix.ENOENT, unix.EACCES))
	if want := "fairway: permission denied\nfairway: no such file or directory\n"; said.String() != want {
		t.Errorf("got %q, want %q", said.String(), want)
	}
}

// TestRefusedFlags: each flag of Docker's that is not here says why, whatever value it is given.
func TestRefusedFlags(t *testing.T) {
	s := newShell(t)
	for command, flags := range map[string]refusedFlags{"create": refusedOfCreate, "connect": refusedOfConnect, "run": refusedOfRun} {
		want := map[string]int{"create": exitUsage, "connect": exitUsage, "run": runFailure}[command]
		for why, names := range flags {
			for _, text := range names {
				fields := strings.Fields(strings.TrimSuffix(text, "!"))
				spelt := []string{"--" + fields[0]}
				if len(fields) > 1 {
					spelt = append(spelt, "-"+fields[1])
				}
				for _, flag := range spelt {
					args := []string{command, flag}
					if !strings.HasSuffix(text, "!") {
						args = append(args, "value")
					}
					_, said, status := s.run(append(args, "a", "b")...)
					if status != want || !strings.HasPrefix(said, "fairway: --"+fields[0]+": "+why) {
						t.Errorf("%q: status %d, %s", args, status, said)
					}
				}
			}
		}
	}
}

// TestConnectRefuses: flags of docker's that cannot be had say why, before anything is looked for.
func TestConnectRefuses(t *testing.T) {
	s := newShell(t)
	for flag, want := range map[string]string{
		"--gw-priority=5":             "stays that of its first network",
		"--link-local-ip=169.254.1.2": "addresses come from the network's IPAM",
		"--driver-opt=a=b":            "there is com.docker.network.endpoint.ifname=NAME alone",
		"--driver-opt=com.docker.network.endpoint.ifname=a/b": "--ifname",
	} {
		if _, said, status := s.run("connect", flag, "lamp", "web"); status != 2 || !strings.Contains(said, want) {
			t.Errorf("%s: status %d, %s", flag, status, said)
		}
	}
	if _, said, status := s.run("connect", "--gw-priority=0", "lamp", "web"); status != 1 || !strings.Contains(said, "lamp not found") {
		t.Errorf("a priority of 0: status %d, %s", status, said)
	}
}
