package resolver

import (
	"bufio"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/nameport"
	"github.com/fairway-cni/fairway/pkg/names"
)

// upstream is a server that is asked for names which are not ours.
type upstream struct {
	Addr netip.AddrPort
	// From is the namespace to ask from; the zero value is the host's.
	From names.Netns
}

// mostUpstreams are used of a list, as libcs do (MAXNS, resolv.h).
const mostUpstreams = 3

// ownServers are the servers that a container has itself, asked from its own namespace. Ours is left out: it would be asked
// for ever.
func ownServers(a names.Asker) (list []upstream) {
	for _, addr := range a.Servers {
		if addr != nameport.Addr && len(list) < mostUpstreams {
			list = append(list, upstream{Addr: netip.AddrPortFrom(addr, nameport.Port), From: a.Netns})
		}
	}
	return list
}

// resolvConf is the servers in the host's resolv.conf. The file is looked at with each call, which costs a microsecond, misses
// no way of replacing it, and needs no watch.
type resolvConf struct {
	path string

	mu      sync.Mutex
	seen    stamp
	servers []upstream
}

// stamp tells one content of a file from another.
type stamp struct {
	dev, inode   uint64
	size         int64
	mtime, ctime unix.Timespec
	exists, racy bool
}

func (c *resolvConf) upstreams() []upstream {
	now := look(c.path)
	c.mu.Lock()
	defer c.mu.Unlock()
	if now != c.seen || now.racy {
		c.servers = nil
		if text, err := os.ReadFile(c.path); err == nil {
			c.servers = parseServers(string(text))
		}
		c.seen = now
	}
	return c.servers
}

// look takes the stamp of what a path leads to, through symbolic links.
func look(path string) stamp {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return stamp{}
	}
	// Two writes within one tick of the kernel's clock have one stamp.
	const tick = 20 * time.Millisecond
	age := time.Since(time.Unix(st.Ctim.Sec, st.Ctim.Nsec))
	return stamp{dev: st.Dev, inode: st.Ino, size: st.Size, mtime: st.Mtim, ctime: st.Ctim, exists: true, racy: age < tick}
}

// parseServers reads the keys nameserver of resolv.conf(5). An address may have a zone.
func parseServers(text string) (list []upstream) {
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() && len(list) < mostUpstreams {
		words := strings.Fields(lines.Text())
		if len(words) < 2 || words[0] != "nameserver" {
			continue
		}
		if addr, err := netip.ParseAddr(words[1]); err == nil {
			list = append(list, upstream{Addr: netip.AddrPortFrom(addr, nameport.Port)})
		}
	}
	return list
}

// dialer dials from wherever the calling thread is.
var dialer = net.Dialer{Timeout: patience}
