package protocol

import "slices"

// packed is a state in a few bytes, by which states are told apart.
type packed [maxKeys + workers*maxKeys]uint32

func (s *state) pack() packed {
	var p packed
	for k, e := range s.keys {
		p[k] = bit(e.foreign)<<23 | uint32(e.claim)<<20 | uint32(e.phase)<<18 | bit(e.owner == 0)<<17 | bit(e.owner == 1)<<16 |
			uint32(e.outcome)<<14 | uint32(e.effects)<<12 | uint32(e.flying)<<10 | uint32(e.delayed)<<6 |
			bit(e.called)<<5 | bit(e.news)<<4 | bit(e.acked)<<3 | bit(e.late)<<2 | bit(e.forgot)<<1 | bit(e.reverted)
		for w := range s.slots {
			sl := s.slots[w][k]
			p[maxKeys+w*maxKeys+k] = uint32(sl.place)<<12 | uint32(sl.call)<<8 | uint32(sl.outcome)<<4 |
				bit(sl.before)<<3 | bit(sl.looked)<<2 | bit(sl.confirm)<<1 | bit(sl.acked)
		}
	}
	return p
}

func bit(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}

// canonical gives the one that stands for all states that differ only in which
// worker is called 0, or which key.
func (s *state) canonical(n int) (state, packed) {
	best, least := *s, s.pack()
	for i := range 2 * n {
		other := *s
		if i%2 == 1 {
			other.swapWorkers()
		}
		if i >= 2 {
			other.swapKeys()
		}
		if p := other.pack(); slices.Compare(p[:], least[:]) < 0 {
			best, least = other, p
		}
	}
	return best, least
}

func (s *state) swapWorkers() {
	s.slots[0], s.slots[1] = s.slots[1], s.slots[0]
	for k := range s.keys {
		if e := &s.keys[k]; e.owner != nobody {
			e.owner = 1 - e.owner
		}
	}
}

func (s *state) swapKeys() {
	s.keys[0], s.keys[1] = s.keys[1], s.keys[0]
	for w := range s.slots {
		s.slots[w][0], s.slots[w][1] = s.slots[w][1], s.slots[w][0]
	}
}
