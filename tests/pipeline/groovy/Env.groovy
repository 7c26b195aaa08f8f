/** Variables of a build: those of the place, then those that were set, then the agent's own. */
class Env {
  private final Map<String, String> values = [:].asSynchronized()
  private final Steps steps

  Env(Steps steps) { this.steps = steps }

  /** What the build adds to the agent's own. */
  Map<String, String> getAll() { values + [STAGE_NAME: steps.place.stage] + steps.place.variables }

  def propertyMissing(String name) { all.containsKey(name) ? all[name] : System.getenv(name) }

  /** As in Jenkins, a variable that is set to nothing is gone. */
  def propertyMissing(String name, value) { value ? values.put(name, value.toString()) : values.remove(name) }
}
