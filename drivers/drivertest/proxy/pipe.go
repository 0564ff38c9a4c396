package proxy

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// pipe is one direction of a connection.
type pipe struct {
	from, to net.Conn

	mu      sync.Mutex
	changed chan struct{} // closed and replaced whenever something below changes
	mode    Mode
	delay   time.Duration
	chunks  []chunk
	// passing is the number of held bytes to deliver nevertheless.
	passing int
	// ended is the reason why no more data will arrive (io.EOF, or the error of a reset connection), or nil.
	ended error
	// cut means that both sides of the connection are closed, and deaf that the receiver's side is.
	cut, deaf bool
}

type chunk struct {
	bytes []byte
	came  time.Time
}

func (p *pipe) set(change func(*pipe)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *pipe) queued() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, c := range p.chunks {
		n += len(c.bytes)
	}
	return n
}

func (p *pipe) read() {
	buffer := make([]byte, 64<<10)
	for {
		n, err := p.from.Read(buffer)
		p.set(func(p *pipe) {
			if n > 0 && !p.deaf {
				p.chunks = append(p.chunks, chunk{append([]byte(nil), buffer[:n]...), time.Now()})
			}
			p.ended = err
		})
		if err != nil {
			return
		}
	}
}

// write returns when the end of the stream was delivered or can no longer be.
func (p *pipe) write() {
	for {
		bytes, wait, done := p.next()
		switch {
		case done:
			return
		case wait != nil:
			wait()
		default:
			if _, err := p.to.Write(bytes); err != nil {
				// The receiver is gone. The sender must not notice, so its side continues until it ends by itself.
				p.set(func(p *pipe) { p.deaf, p.chunks = true, nil })
			}
		}
	}
}

// next returns bytes to deliver now, a function that waits for a change, or true if the pipe is finished.
func (p *pipe) next() (bytes []byte, wait func(), done bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut {
		return nil, nil, true
	}
	if p.mode == Drop {
		p.chunks = nil
	}
	changed := p.changed
	if p.passing > 0 && len(p.chunks) > 0 {
		first := &p.chunks[0]
		n := min(p.passing, len(first.bytes))
		bytes, first.bytes = first.bytes[:n], first.bytes[n:]
		if p.passing -= n; len(first.bytes) == 0 {
			p.chunks = p.chunks[1:]
		}
		return bytes, nil, false
	}
	if p.mode != Forward && (!p.deaf || p.ended == nil) {
		return nil, func() { <-changed }, false
	}
	if len(p.chunks) == 0 {
		if p.ended == nil {
			return nil, func() { <-changed }, false
		}
		p.passEnd()
		return nil, nil, true
	}
	first := p.chunks[0]
	if early := time.Until(first.came.Add(p.delay)); early > 0 {
		return nil, func() {
			timer := time.NewTimer(early)
			defer timer.Stop()
			select {
			case <-changed:
			case <-timer.C:
			}
		}, false
	}
	p.chunks = p.chunks[1:]
	return first.bytes, nil, false
}

// passEnd ends the receiver's connection as the sender's ended.
func (p *pipe) passEnd() {
	tcp, ok := p.to.(*net.TCPConn)
	if !ok || (!errors.Is(p.ended, io.EOF) && !errors.Is(p.ended, net.ErrClosed)) {
		end(p.to, Reset)
		return
	}
	_ = tcp.CloseWrite()
}
