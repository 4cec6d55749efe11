package nlraw

import (
	"context"
	"encoding/binary"
	"fmt"
	"syscall"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Message is a view of one netlink message: struct nlmsghdr,
// include/uapi/linux/netlink.h. Data is what follows the header, without padding.
type Message struct {
	Type, Flags uint16
	Sequence    uint32
	PID         uint32
	Data        []byte
}

// Next splits the first message off a datagram.
func Next(b []byte) (m Message, rest []byte, err error) {
	if len(b) < unix.NLMSG_HDRLEN {
		return Message{}, nil, fmt.Errorf("%w: %d bytes left for a header", ErrMalformed, len(b))
	}
	n := int(binary.NativeEndian.Uint32(b))
	if n < unix.NLMSG_HDRLEN || n > len(b) {
		return Message{}, nil, fmt.Errorf("%w: length %d of %d bytes", ErrMalformed, n, len(b))
	}
	m = Message{
		Type:     binary.NativeEndian.Uint16(b[4:]),
		Flags:    binary.NativeEndian.Uint16(b[6:]),
		Sequence: binary.NativeEndian.Uint32(b[8:]),
		PID:      binary.NativeEndian.Uint32(b[12:]),
		Data:     b[unix.NLMSG_HDRLEN:n],
	}
	return m, b[min(align(n), len(b)):], nil
}

// errno returns the error that an NLMSG_ERROR or NLMSG_DONE message carries, 0 for none.
func (m Message) errno() syscall.Errno {
	if len(m.Data) < 4 {
		return 0
	}
	return syscall.Errno(-int32(binary.NativeEndian.Uint32(m.Data)))
}

// Dump sends req, whose flags must ask for a dump, and calls message with each
// of the answers; its Data is valid until message returns. datagram, if not
// nil, is called after each read and before its messages. An error of either ends the dump.
//
// An error of the kernel's is a syscall.Errno, to be had by errors.As;
// ErrInterrupted comes after all messages. After any other error the
// rest of the dump is still in the socket: close it.
func (c *Conn) Dump(ctx context.Context, req netlink.Message, datagram func() error,
	message func(Message) error,
) error {
	req.Header.Flags |= netlink.Request | netlink.Dump
	return c.execute(ctx, req, datagram, message)
}

// Get sends req and calls message with its one answer.
func (c *Conn) Get(ctx context.Context, req netlink.Message, message func(Message) error) error {
	req.Header.Flags |= netlink.Request
	return c.execute(ctx, req, nil, message)
}

func (c *Conn) execute(ctx context.Context, req netlink.Message, datagram func() error,
	message func(Message) error,
) error {
	dump := req.Header.Flags&netlink.Dump == netlink.Dump
	req, err := c.send(req)
	if err != nil {
		return fmt.Errorf("send: %w", err)
	}
	interrupted := false
	for {
		b, err := c.Receive(ctx)
		if err != nil {
			return err
		}
		if datagram != nil {
			if err := datagram(); err != nil {
				return err
			}
		}
		for len(b) > 0 {
			var m Message
			if m, b, err = Next(b); err != nil {
				return err
			}
			if m.Sequence != req.Header.Sequence || m.PID != req.Header.PID {
				continue
			}
			interrupted = interrupted || m.Flags&unix.NLM_F_DUMP_INTR != 0
			switch m.Type {
			case unix.NLMSG_NOOP:
			case unix.NLMSG_OVERRUN:
				return fmt.Errorf("%w: overrun", ErrMalformed)
			case unix.NLMSG_ERROR, unix.NLMSG_DONE:
				if errno := m.errno(); errno != 0 {
					return fmt.Errorf("answer: %w", errno)
				}
				if interrupted {
					return ErrInterrupted
				}
				return nil
			default:
				if err := message(m); err != nil {
					return err
				}
				if !dump {
					return nil
				}
			}
		}
	}
}
