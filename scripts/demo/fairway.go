package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

const (
	// netconf is the directory of the networks of this section, pages that of its web server.
	netconf = scratch + "/net.d"
	pages   = scratch + "/www"

	greeting = "hello from web"
	webOnOne = "10.5.0.2"
	webOnTwo = "10.6.0.2"
)

// server is a `fairway run` in the background, and what is left to read of its standard error.
type server struct {
	cmd  *exec.Cmd
	said io.Reader
}

// createNetwork also makes the directories of the section.
func (s *stage) createNetwork() error {
	if err := errors.Join(os.MkdirAll(netconf, 0o755), os.MkdirAll(pages, 0o755)); err != nil {
		return err
	}
	if err := os.WriteFile(pages+"/index.html", []byte(greeting+"\n"), 0o644); err != nil {
		return err
	}
	return s.session(line{text: "fairway create --subnet 10.5.0.0/24 lamp"}, line{text: "fairway ls"})
}

func (s *stage) runTwo() error {
	command := "fairway run --network lamp --name web busybox httpd -f -p 80 -h " + pages
	s.page.typed(command + " &")
	s.web.cmd = shell("exec " + command)
	s.web.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // not to outlive a demo that fails
	var err error
	if s.web.said, err = s.web.cmd.StderrPipe(); err != nil {
		return err
	}
	if err := errors.Join(s.web.cmd.Start(), awaitServer(webOnOne)); err != nil {
		return err
	}
	return s.session(line{"fairway run --network lamp busybox wget -q -O - http://" + webOnOne + "/", greeting})
}

// awaitServer waits until the host reaches port 80 of an address.
func awaitServer(address string) error {
	for start := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.DialTimeout("tcp", net.JoinHostPort(address, "80"), time.Second)
		if err == nil {
			return conn.Close()
		}
		if time.Since(start) > 20*time.Second {
			return err
		}
	}
}

func (s *stage) lookAtTwo() error {
	return s.session(
		line{`fairway inspect -f '{{range .Containers}}{{.Name}} {{.IPv4Address}}{{end}}' lamp`, "web " + webOnOne + "/24"},
		line{text: "fairway topology"})
}

// findByName is the example of network aliases: who is on the network asks for it, and who is not is told nothing.
func (s *stage) findByName() error {
	err := s.session(
		line{text: "fairway create --subnet 10.7.0.0/24 lamp-network"},
		line{text: "fairway connect --alias apache lamp-network web"},
		line{"fairway run --network lamp-network --network-alias php busybox wget -q -O - http://apache/", greeting},
		line{"fairway run --network lamp sh -c 'getent hosts apache || echo unknown'", "unknown"},
		line{"fairway resolve apache --network lamp-network", "10.7.0.2"},
		line{text: "fairway disconnect lamp-network web"},
		line{text: "fairway rm lamp-network"})
	if err == nil {
		s.page.tick("names", "apache was found on its own network, and on no other")
	}
	return err
}

func (s *stage) reachOutside() error {
	if err := s.session(line{"fairway run --network lamp busybox wget -q -O - http://" + outsideAddress + "/", hostAddress}); err != nil {
		return err
	}
	s.page.tick("masquerade", "the outside saw "+hostAddress+", which is the host")
	return nil
}

// connectSecond moves the server from one network to another while it runs.
func (s *stage) connectSecond() error {
	return s.session(
		line{text: "fairway create --internal --subnet 10.6.0.0/24 vault"},
		line{text: "fairway connect vault web"},
		line{text: "fairway disconnect lamp web"},
		line{"fairway run --network vault busybox wget -q -O - http://" + webOnTwo + "/", greeting},
		line{text: "fairway run --network lamp --network vault ip -br -4 addr"})
}

// killFirst ends the server by what no program can answer to, and looks whether anything is left.
func (s *stage) killFirst() error {
	s.page.typed("kill -KILL %1")
	if err := s.web.cmd.Process.Kill(); err != nil {
		return err
	}
	// Whoever takes things away afterwards has this pipe open until it is done.
	if said, err := io.ReadAll(s.web.said); err != nil || len(said) > 0 {
		return fmt.Errorf("after the server was killed: %s: %w", said, err)
	}
	_ = s.web.cmd.Wait() // it was killed
	err := s.session(line{`fairway inspect -f '{{len .Containers}}' vault`, "0"}, line{"fairway rm lamp vault", "lamp\nvault"})
	if err != nil {
		return err
	}
	after, err := takeInventory()
	if err != nil {
		return err
	}
	if after != s.before {
		return fmt.Errorf("left: %s; there was: %s", after, s.before)
	}
	s.page.tick("nothing is left", after.String()+", as before")
	return nil
}

// shell prepares a command line, with this section's networks.
func shell(command string) *exec.Cmd {
	cmd := exec.Command("sh", "-c", command)
	cmd.Env = append(os.Environ(), "NETCONFPATH="+netconf, "FAIRWAY_LOG=")
	return cmd
}

// line is a command line as a person types it, and what it has to print; empty: whatever it prints.
type line struct{ text, want string }

// session types lines until one of them fails.
func (s *stage) session(lines ...line) error {
	for _, l := range lines {
		got, err := s.answerTo(l.text)
		if err != nil {
			return err
		}
		if l.want != "" && got != l.want {
			return fmt.Errorf("%s: got %q, want %q", l.text, got, l.want)
		}
	}
	return nil
}

// answerTo types a line, and shows what it prints.
func (s *stage) answerTo(command string) (string, error) {
	s.page.typed(command)
	out, err := shell(command).CombinedOutput()
	answer := strings.TrimSuffix(string(out), "\n")
	for text := range strings.Lines(answer) {
		s.page.note(strings.TrimSuffix(text, "\n"))
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", command, err)
	}
	return answer, nil
}
