package e2e

import (
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// ctr is containerd's own client, in a containerd namespace for one test.
type ctr struct {
	daemon    containerd
	namespace string
}

func TestCtr(t *testing.T) {
	writeConf(t, `{
		"cniVersion": "1.0.0",
		"name": "ctr",
		"plugins": [{
			"type": "bridge",
			"bridge": "ctr0",
			"isDefaultGateway": true,
			"ipMasq": true,
			"ipam": {"type": "host-local", "ranges": [[{"subnet": "10.66.0.0/24"}], [{"subnet": "fd66::/64"}]]}
		}]
	}`)
	o := newOutside(t)
	o.mirror(t)
	removeLink(t, "ctr0")
	c := ctr{namespace: newCgroup(t)} // containerd names its control group after the namespace
	c.daemon = startContainerd(t)
	succeed(t, c.command(t, "images", "import", "--snapshotter", snapshotter, buildImage(t)))

	web := c.start(t, "web", "10.66.0.2")
	for _, url := range []string{"http://10.66.0.2/", "http://[fd66::2]/"} {
		if got := c.once(t, "client", "wget", "-q", "-O-", url); got != webPage {
			t.Errorf("%s: got %q, want %q", url, got, webPage)
		}
	}
	if got := c.once(t, "client", "nc", outsideV4, mirrorPort); got != hostV4 {
		t.Errorf("address seen by the outside: got %q, want %q", got, hostV4)
	}

	web.end(t)
	wantNothing(t, "ctr")
}

func (c ctr) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	return command(t, "ctr", append([]string{"--address", c.daemon.socket, "--namespace", c.namespace}, args...)...)
}

// container is one that `ctr run` attends to. (A detached one would never be detached from its network by ctr.)
type container struct {
	ctr
	id   string
	done <-chan string
}

// start runs the image's web server in a container and waits until it serves the host, at the address it must get.
func (c ctr) start(t *testing.T, id, address string) container {
	t.Helper()
	attended := c.command(t, "run", "--rm", "--cni", "--snapshotter", snapshotter, imageName, id)
	done := make(chan string, 1)
	go func() {
		_, said, err := run(attended)
		done <- fmt.Sprintf("%v: %s", err, said)
	}()
	t.Cleanup(func() { _, _, _ = run(c.command(t, "task", "rm", "--force", id)) }) // a test that passes has ended it
	for {
		conn, err := net.DialTimeout("tcp", net.JoinHostPort(address, webPort), time.Second)
		if err == nil {
			_ = conn.Close() // only that it opens was asked
			return container{ctr: c, id: id, done: done}
		}
		select {
		case how := <-done:
			t.Fatalf("ctr run %s: %s", id, how)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// end kills the container and waits until ctr has detached it.
func (c container) end(t *testing.T) {
	t.Helper()
	succeed(t, c.command(t, "task", "kill", "--signal", "KILL", c.id))
	if how := <-c.done; !strings.HasPrefix(how, "exit status 137") {
		t.Errorf("ctr run %s: got %s, want exit status 137", c.id, how)
	}
}

// once runs an applet of busybox in a container of its own and gives back what it printed.
func (c ctr) once(t *testing.T, id string, applet ...string) string {
	t.Helper()
	args := []string{"run", "--rm", "--cni", "--snapshotter", snapshotter, imageName, id, "/bin/busybox"}
	return succeed(t, c.command(t, append(args, applet...)...))
}
