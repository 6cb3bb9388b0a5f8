package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
)

// The sizes that echo is asked for and answers with: what a small checkout and a small renewal would be.
const (
	checkoutBytes = 100
	renewalBytes  = 20
	echoTimes     = 3 // an answer is so much longer than its request
)

// serveEcho answers each frame of framed TCP with one three times as long. It is what the machine's loopback allows, and decides nothing.
func serveEcho() error {
	return accept(func(conn net.Conn) {
		in := bufio.NewReader(conn)
		var b []byte
		for {
			var head [4]byte
			if _, err := io.ReadFull(in, head[:]); err != nil {
				return
			}
			n := int(binary.BigEndian.Uint32(head[:]))
			if n > 16<<10 {
				return
			}
			if len(b) != 4+echoTimes*n {
				b = make([]byte, 4+echoTimes*n)
			}
			if _, err := io.ReadFull(in, b[4:4+n]); err != nil {
				return
			}
			binary.BigEndian.PutUint32(b, uint32(echoTimes*n))
			if _, err := conn.Write(b); err != nil {
				return
			}
		}
	})
}

// accept listens, prints the address, and serves until its input ends.
func accept(serve func(net.Conn)) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go func() {
		io.Copy(io.Discard, os.Stdin)
		l.Close()
	}()
	fmt.Println(l.Addr())
	for {
		conn, err := l.Accept()
		if err != nil {
			return nil
		}
		go func() {
			defer conn.Close()
			serve(conn)
		}()
	}
}
