package etcd

import (
	"context"
	"maps"
	"net"
	"net/netip"
	"sync"
)

// connections are a client's, to members of etcd.
type connections struct {
	mu  sync.Mutex
	all map[*net.TCPConn]bool
}

// dial is gRPC's dialer. The connection is not wrapped: gRPC sets options of TCP.
func (c *connections) dial(ctx context.Context, address string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.all, func(conn *net.TCPConn, _ bool) bool { return isClosed(conn) })
	c.all[conn.(*net.TCPConn)] = true
	return conn, nil
}

func isClosed(conn *net.TCPConn) bool {
	raw, err := conn.SyscallConn()
	return err != nil || raw.Control(func(uintptr) {}) != nil
}

// Leave closes the connections that begin at an address which the host has no more: nothing else would tell before their
// time-outs.
func (c *Client) Leave(addr netip.Addr) {
	c.connections.mu.Lock()
	defer c.connections.mu.Unlock()
	for conn := range c.connections.all {
		if conn.LocalAddr().(*net.TCPAddr).AddrPort().Addr().Unmap() == addr {
			_ = conn.Close() // it may be closed already
		}
	}
}
