# Completion of pidleash for bash: options and their values, signals, files, users, and behind PROGRAM whatever its own
# completion offers (by the package bash-completion; without it, files).

# made from the table of options: words (go test ./internal/cli -run TestGenerated -update)
_pidleash_signals='HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS RTMIN RTMIN+1 RTMIN+2 RTMIN+3 RTMIN+4 RTMIN+5 RTMIN+6 RTMIN+7 RTMIN+8 RTMIN+9 RTMIN+10 RTMIN+11 RTMIN+12 RTMIN+13 RTMIN+14 RTMIN+15 RTMAX-14 RTMAX-13 RTMAX-12 RTMAX-11 RTMAX-10 RTMAX-9 RTMAX-8 RTMAX-7 RTMAX-6 RTMAX-5 RTMAX-4 RTMAX-3 RTMAX-2 RTMAX-1 RTMAX'
_pidleash_topics='all status stop signal wait list'
_pidleash_options() {
	case $1 in
	status) echo log-level log-format pidfile json h ;;
	stop) echo log-level log-format pidfile stop timeout json h ;;
	signal) echo log-level log-format pidfile json h ;;
	wait) echo log-level log-format pidfile until timeout json h ;;
	list) echo log-level log-format json h ;;
	*) echo pidfile supervisor-pidfile settle stop stop-command pdeathsig same-group wait-all kill-mode rewrite drain ignore restart restart-delay restart-limit restart-signal while while-running daemon sidecar forking follow ready ready-file start-timeout stdout stderr chdir umask user nice oom-score-adj success removed-exit already-running-exit log-level log-format h version ;;
	esac
}
# The kind of an option's value, and its choices; a switch has none.
_pidleash_kind() {
	case $1 in
	pidfile) echo file ;;
	supervisor-pidfile) echo file ;;
	settle) echo free ;;
	stop) echo schedule ;;
	stop-command) echo command ;;
	pdeathsig) echo signal_or_none ;;
	kill-mode) echo choices process mixed group tree ;;
	rewrite) echo rewrite ;;
	drain) echo free ;;
	ignore) echo signals ;;
	restart) echo choices no on-failure always ;;
	restart-delay) echo free ;;
	restart-limit) echo free ;;
	restart-signal) echo signal ;;
	while) echo file ;;
	while-running) echo file ;;
	follow) echo file ;;
	ready) echo choices exec notify fd: log log: tcp: cmd: ;;
	ready-file) echo file ;;
	start-timeout) echo free ;;
	stdout) echo file ;;
	stderr) echo file ;;
	chdir) echo dir ;;
	umask) echo free ;;
	user) echo user ;;
	nice) echo free ;;
	oom-score-adj) echo free ;;
	success) echo free ;;
	removed-exit) echo free ;;
	already-running-exit) echo free ;;
	log-level) echo choices trace debug info warn error off ;;
	log-format) echo choices text json ;;
	until) echo choices gone running ;;
	timeout) echo free ;;
	esac
}
# end of words

# What to append to completes the word up to the cursor. Replies are whole words here; what readline has taken for
# words of their own (it breaks words at ":" and "=") is cut off at the end.
_pidleash_reply() { # PREFIX WORDS
	local word
	for word in $2; do
		[[ $1$word == "$current"* ]] && COMPREPLY+=("$1$word")
	done
}

_pidleash_paths() { # compgen's -f, -d or -c
	local path
	compopt -o filenames 2>/dev/null
	while IFS= read -r path; do
		COMPREPLY+=("$prefix$path")
	done < <(compgen "$1" -- "${current#"$prefix"}")
}

# A value of the kind that the table says, behind a prefix such as "-log-level=".
_pidleash_value() { # PREFIX KIND [CHOICE...]
	local prefix=$1 value=${current#"$1"} kind=$2
	shift 2
	case $kind in
	file) _pidleash_paths -f ;;
	dir) _pidleash_paths -d ;;
	command) _pidleash_paths -c ;;
	choices) _pidleash_reply "$prefix" "$*" ;;
	signal) _pidleash_reply "$prefix" "$_pidleash_signals" ;;
	signal_or_none) _pidleash_reply "$prefix" "$_pidleash_signals none" ;;
	signals) _pidleash_reply "$prefix${value%"${value##*,}"}" "$_pidleash_signals none" ;;
	schedule) _pidleash_reply "$prefix${value%"${value##*/}"}" "$_pidleash_signals" ;;
	rewrite)
		if [[ $value == *:* ]]; then
			_pidleash_reply "$prefix${value%%:*}:" "$_pidleash_signals none"
		else
			_pidleash_reply "$prefix" "${_pidleash_signals// /: }:"
		fi
		;;
	user)
		if [[ $value == *:* ]]; then
			_pidleash_reply "$prefix${value%%:*}:" "$(compgen -g)"
		else
			_pidleash_reply "$prefix" "$(compgen -u)"
		fi
		;;
	esac
}

# A word that begins with a dash.
_pidleash_option() { # OPTIONS
	local dashes=- name=${current#-}
	[[ $name == -* ]] && dashes=-- name=${name#-}
	if [[ $name == *=* ]]; then
		_pidleash_value "$dashes${name%%=*}=" $(_pidleash_kind "${name%%=*}")
	else
		_pidleash_reply "" "$dashes${1// / $dashes}"
	fi
}

# PROGRAM and its words, from a place on.
_pidleash_program() { # PLACE
	local offset
	for offset in _comp_command_offset _command_offset; do
		if declare -F $offset >/dev/null; then
			cut=
			$offset "${place[$1]}"
			return
		fi
	done
	local prefix=
	if (($1 == last)) && [[ $current != */* ]]; then
		_pidleash_paths -c
	else
		_pidleash_paths -f
	fi
}

# The words behind a command.
_pidleash_command() { # COMMAND
	local name kind i operands=0
	for ((i = 2; i < last; i++)); do
		name=${word[i]#-} name=${name#-}
		if [[ ${word[i]} == -- ]]; then
			((operands += last - i - 1))
			[[ $1 == list || operands -gt 0 || $1 != signal ]] && prefix='' && _pidleash_paths -f
			return
		elif [[ ${word[i]} == -* ]]; then
			kind=$(_pidleash_kind "$name")
			[[ -n $kind ]] && ((i + 1 == last)) && { _pidleash_value "" $kind; return; }
			[[ -n $kind ]] && ((i++))
		else
			((operands++))
		fi
	done
	local prefix=
	case $1:$current in
	help:*) _pidleash_reply "" "$_pidleash_topics" ;;
	*:-*) _pidleash_option "$(_pidleash_options "$1")" ;;
	signal:*) if ((operands)); then _pidleash_paths -f; else _pidleash_reply "" "$_pidleash_signals"; fi ;;
	*) _pidleash_paths -f ;;
	esac
}

# The words of a start.
_pidleash_start() {
	local i=1 name kind
	for ((; i < last; i++)); do
		name=${word[i]#-} name=${name#-}
		case ${word[i]} in
		--) _pidleash_program $((i + 1)); return ;;
		-h | --h | -help | --help) _pidleash_reply "" "$_pidleash_topics"; return ;;
		-*=*) ;;
		-?*)
			kind=$(_pidleash_kind "$name")
			[[ -n $kind ]] && ((i + 1 == last)) && { _pidleash_value "" $kind; return; }
			[[ -n $kind ]] && ((i++))
			;;
		*) _pidleash_program $i; return ;;
		esac
	done
	if [[ $current == -* ]]; then
		_pidleash_option "$(_pidleash_options)"
	else
		_pidleash_program $last
		((last == 1)) && _pidleash_reply "" "${_pidleash_topics/all/help}"
	fi
}

_pidleash() {
	local -a word=() place=()
	local i last=-1 current cut glue=
	for ((i = 0; i <= COMP_CWORD; i++)); do
		if [[ $last -gt 0 && (${COMP_WORDS[i]} =~ ^[:=]+$ || -n $glue) ]]; then
			word[last]+=${COMP_WORDS[i]}
		else
			((++last))
			word[last]=${COMP_WORDS[i]} place[last]=$i
		fi
		glue=
		[[ ${COMP_WORDS[i]} =~ ^[:=]+$ ]] && glue=yes
	done
	current=${word[last]} cut=${word[last]}
	[[ $glue ]] || cut=${current%"${COMP_WORDS[COMP_CWORD]}"}
	COMPREPLY=()
	case ${word[1]} in
	status | stop | signal | wait | list | help)
		if ((last > 1)); then _pidleash_command "${word[1]}"; else _pidleash_start; fi
		;;
	*) _pidleash_start ;;
	esac
	COMPREPLY=("${COMPREPLY[@]#"$cut"}")
	[[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[:=] ]] && compopt -o nospace 2>/dev/null
	return 0
}

complete -F _pidleash pidleash
