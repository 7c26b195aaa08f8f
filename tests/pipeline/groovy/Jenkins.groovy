/** Runs the stages of a declarative pipeline as Jenkins does: gates, conditions, agents, what follows a failure. */
abstract class Jenkins extends Steps {
  String result = 'SUCCESS'
  protected int agents = 0

  void pipeline(Closure body) {
    def pipeline = new Block(this, 'pipeline', [body])
    setParameters(pipeline.part('parameters'))
    pipeline.part('triggers')?.parts?.each { note(trigger: it.name, value: it.arguments[0]) }
    try {
      runInSequence(pipeline.part('stages'))
    } catch (Exception failure) {
      result = failure instanceof Rejected ? 'ABORTED' : 'FAILURE'
      if (!(failure instanceof Rejected || failure instanceof StepFailed)) {
        failure.printStackTrace()
      }
    }
    log("Finished: $result")
  }

  protected void setParameters(Block declared) {
    def given = new LinkedHashMap(settings.parameters)
    declared.parts.each { parameter ->
      def name = parameter.named.name, value = given.remove(name)
      def fallback = parameter.name == 'choice' ? parameter.named.choices[0] : parameter.named.defaultValue
      if (value != null && parameter.name == 'choice' && !(value in parameter.named.choices)) {
        throw new IllegalArgumentException("Illegal choice for parameter $name: $value")
      }
      params.values[name] = value == null ? fallback : value
    }
    if (given) {
      throw new IllegalArgumentException("no such parameter: ${given.keySet().join(', ')}")
    }
  }

  // ---- stages -------------------------------------------------------------------------------------------------------

  protected void runInSequence(Block stages) { stages.all('stage').each { runStage(it) } }

  /** Runs stages side by side, all to their ends; fails as the first one that has. */
  protected void runInParallel(Block stages) {
    def here = place, failures = [].asSynchronized()
    stages.all('stage').collect { stage ->
      Thread.start {
        try {
          at([:], here) { runStage(stage) }
        } catch (Throwable failure) {
          failures << failure
        }
      }
    }*.join()
    if (failures) {
      throw failures[0]
    }
  }

  protected void runStage(Block stage) {
    at(stage: stage.arguments[0]) {
      def conditions = stage.part('when'), first = conditions?.value('beforeInput'), early = conditions?.value('beforeAgent')
      if (first && !holds(conditions)) {
        return
      }
      note(event: 'started')
      try {
        openGate(stage.part('input'))
        if (!first && early && !holds(conditions)) {
          return
        }
        onAgent(stage.part('agent')) {
          if (first || early || holds(conditions)) {
            runContent(stage)
          }
        }
      } catch (Exception failure) {
        log("FAILED: ${failure.message}")
        note(event: 'failed', reason: failure.message)
        throw failure
      }
    }
  }

  protected void runContent(Block stage) {
    Exception failed = null
    try {
      if (stage.part('stages')) {
        runInSequence(stage.part('stages'))
      } else if (stage.part('parallel')) {
        runInParallel(stage.part('parallel'))
      } else {
        stage.part('steps').code.call()
      }
      note(event: 'succeeded')
    } catch (Exception failure) {
      failed = failure
    }
    def wanted = failed ? ['always', 'failure', 'unsuccessful'] : ['always', 'success']
    wanted.each { condition ->
      try {
        stage.part('post')?.part(condition)?.code?.call()
      } catch (Exception failure) {
        log("post $condition failed: ${failure.message}")
        failed = failed ?: failure
      }
    }
    if (failed) {
      throw failed
    }
  }

  /** Whether the conditions of a `when`, of all of them, hold; a stage for which they do not is noted as skipped. */
  protected boolean holds(Block conditions) {
    def held = conditions == null || conditions.parts.findAll { !it.name.startsWith('before') }.every { isTrue(it) }
    if (!held) {
      note(event: 'skipped')
      log('skipped: its conditions do not hold')
    }
    held
  }

  protected boolean isTrue(Block condition) {
    switch (condition.name) {
      case 'branch': return env.BRANCH_NAME == condition.arguments[0]
      case 'triggeredBy': return settings.cause == condition.arguments[0]
      case 'expression': return condition.code.call()
      case 'not': return !isTrue(condition.parts[0])
      case 'allOf': return condition.parts.every { isTrue(it) }
      case 'anyOf': return condition.parts.any { isTrue(it) }
    }
    throw new IllegalStateException(condition.name)
  }

  /** Asks as the stage does; the run was given the answers. */
  protected void openGate(Block input) {
    if (!input) {
      return
    }
    def answer = settings.answers[place.stage]
    note(gate: input.value('message'), submitter: input.value('submitter'), answer: answer)
    log("gate for ${input.value('submitter')}: ${input.value('message')} -> $answer")
    if (answer != 'yes') {
      throw new Rejected(answer == 'no' ? 'Rejected' : "nobody answers the gate '${place.stage}'")
    }
  }

  /** Gives the stage an agent: a checkout of its own, so that nothing gets from one to another unless it is stashed. */
  protected void onAgent(Block agent, Closure code) {
    if (!agent) {
      code()
      return
    }
    def workspace
    synchronized (this) {
      workspace = new File(settings.folder, "agent-${++agents}")
    }
    [['git', 'clone', '--quiet', settings.checkout, workspace.path],
     ['ln', '-s', new File(settings.checkout, '.venv').canonicalPath, new File(workspace, '.venv').path]].each { command ->
      def process = command.execute()
      if (process.waitFor() != 0) {
        throw new StepFailed("${command.join(' ')}: ${process.err.text}")
      }
    }
    new File(workspace, '.git/info/exclude') << '/.venv\n'
    try {
      at(workspace: workspace, code)
    } finally {
      ['rm', '-rf', workspace.path].execute().waitFor() // deleteDir would follow the link to .venv
    }
  }
}
